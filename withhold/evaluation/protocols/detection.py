"""Object detection: boxes and their classes, by a head trained on frozen maps."""

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
"""The IoU from which the control counts boxes as the same."""


def measure(task: Task) -> list[dict]:
    """The average precision of COCO: "AP" is its mean over IoUs from 0.5 to 0.95, "AP50" its value at 0.5.

    "by" is "boxes" for the method's own boxes, and "maps" for a head that is trained on the training boxes over frozen
    maps, for the task's budget of images, which is the same for every encoder. The raw control is "places": the typical
    boxes of the training images, whatever an image shows.
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
    """Predicted and true boxes of each image -> rows; see `average_precision`.

    A class without boxes in the test set has no value.
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
    """Boxes of each sample [m, 6], numbered as in `classes`. Raises: UsageError: other classes, or no boxes."""
    boxes = samples.parts["boxes"]
    if unknown := [name for name in boxes.classes if name not in classes]:
        raise UsageError(
            f"The boxes of {samples.source} have the class {unknown[0]!r}, but the training boxes do not. Give both "
            "the same classes."
        )
    truth = [found[~np.isnan(found[:, 0])].copy() for found in boxes.values]
    for found in truth:
        found[:, 4] = [classes.index(boxes.classes[number]) for number in found[:, 4].astype(int)]
    if not any((found[:, 5] == 0).any() for found in truth):
        raise UsageError(f"The images of {samples.source} have no boxes to find. Draw some.")
    return truth


def places(train: Samples) -> np.ndarray:
    """Typical boxes [m, 6] of training images; the score of each is the share of images that have it.

    They are cluster centres, for each class as many as an image has boxes of it on average.
    """
    shown = boxes_of(train, train.parts["boxes"].classes)
    every, found = np.concatenate(shown), []
    for number in np.unique(every[:, 4]):
        own = every[every[:, 4] == number][:, :4]
        middles = KMeans(math.ceil(len(own) / len(shown)), n_init=1, random_state=0).fit(own).cluster_centers_
        near = [overlaps(middles, one[one[:, 4] == number][:, :4]).max(1, initial=0) >= FOUND for one in shown]
        found.append(np.column_stack([middles, np.full(len(middles), number), np.mean(near, axis=0)]))
    return np.concatenate(found)
