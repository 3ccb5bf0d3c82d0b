"""Detection: a box around each thing and its class, by a head that learns from boxes over a network's maps."""

import math

import numpy as np
from sklearn.cluster import KMeans

from withhold import nets
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.evaluation.boxes import average_precision, overlaps
from withhold.evaluation.supervised import over_maps
from withhold.evaluation.task import Task
from withhold.methods.transfer.detection import Detection
from withhold.needs import parse

TAKES = "image + boxes"
FOUND = 0.5
"""The IoU from which the control takes a box for the same."""


def measure(task: Task) -> list[dict]:
    """The average precision as COCO has it: "AP" is its mean over IoUs from 0.5 to 0.95, "AP50" that at 0.5.

    By the method's own "boxes", and by "maps": what a head says that has learned from the training boxes, over maps
    that stay as they are, for the task's budget of images, the same for every encoder. For raw items stand "places":
    the usual boxes of the training images, wherever an image shows something.
    """
    classes = task.train.parts["boxes"].classes
    truth = boxes_of(task.test, classes)
    if task.encoder is None:
        return [{"encoder": "places", **row} for row in rows([places(task.train)] * len(truth), truth, classes)]
    learner, result = over_maps(task, Detection, parse(TAKES), classes), []
    own = task.said("boxes", task.test) if task.row == "trained" else None
    if own is not None:
        names: tuple[str, ...] = task.method.classes  # type: ignore[union-attr, assignment]
        result += [{**row, "by": "boxes"} for row in rows([*own.numpy()], boxes_of(task.test, names), names)]
    said = nets.rows(learner, learner.says()["boxes"], task.test, task.device)
    return result + [{**row, "by": "maps"} for row in rows([*said.numpy()], truth, classes)]


def rows(said: list[np.ndarray], truth: list[np.ndarray], classes: tuple[str, ...]) -> list[dict]:
    """What is said and true of each image -> what was measured; see `average_precision`.

    A class that the test has no box of has no value.
    """
    found = average_precision(said, truth, len(classes))
    named = {"AP": found.mean(1), "AP50": found[:, 0]}
    return [
        {
            "metric": metric, "value": float(np.nanmean(each)),
            "classes": {name: float(value) for name, value in zip(classes, each, strict=True) if value == value},
        }
        for metric, each in named.items()
    ]  # fmt: skip


def boxes_of(samples: Samples, classes: tuple[str, ...]) -> list[np.ndarray]:
    """The boxes of each sample [m, 6], in the numbers of `classes`. Raises: UsageError: they have others, or none."""
    boxes = samples.parts["boxes"]
    if unknown := [name for name in boxes.classes if name not in classes]:
        raise UsageError(
            f"The boxes of {samples.source} have the class {unknown[0]!r}, and those learned from have not: give both "
            "the same classes."
        )
    truth = [found[~np.isnan(found[:, 0])].copy() for found in boxes.values]
    for found in truth:
        found[:, 4] = [classes.index(boxes.classes[number]) for number in found[:, 4].astype(int)]
    if not any((found[:, 5] == 0).any() for found in truth):
        raise UsageError(f"The images of {samples.source} have no box that is to be found: draw some.")
    return truth


def places(train: Samples) -> np.ndarray:
    """Boxes [m, 6] that training images usually have, and as scores the share of the images that have each.

    They are the means of clusters, of each class as many as an image has of it on average.
    """
    shown = boxes_of(train, train.parts["boxes"].classes)
    every, found = np.concatenate(shown), []
    for number in np.unique(every[:, 4]):
        own = every[every[:, 4] == number][:, :4]
        middles = KMeans(math.ceil(len(own) / len(shown)), n_init=1, random_state=0).fit(own).cluster_centers_
        near = [overlaps(middles, one[one[:, 4] == number][:, :4]).max(1, initial=0) >= FOUND for one in shown]
        found.append(np.column_stack([middles, np.full(len(middles), number), np.mean(near, axis=0)]))
    return np.concatenate(found)
