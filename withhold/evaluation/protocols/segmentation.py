"""Segmentation: the class of every pixel, by a head that learns from masks over a network's maps."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from withhold import nets
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.evaluation.supervised import over_maps
from withhold.evaluation.task import Task
from withhold.methods.transfer.segmentation import Segmentation
from withhold.needs import IGNORED, parse

TAKES = "image + mask"
PIXELS = 20_000
"""Of the training images, from which the control learns colours and places."""


def measure(task: Task) -> list[dict]:
    """The mean IoU and the share of pixels named rightly: by the method's own "masks", and by "maps".

    By maps it is what a head says that has learned from the training masks, over maps that stay as they are, for the
    task's budget of images: the same for every encoder. For raw items stand "majority", the commonest class everywhere,
    and "colour", logistic regression on the colour and the place of a pixel, and on their products.
    """
    classes = task.train.parts["mask"].classes
    truth = masks_of(task.test, classes)
    if task.encoder is None:
        found = {"majority": majority(task.train, task.test), "colour": by_colour(task.train, task.test)}
        return [{"encoder": name, **row} for name, said in found.items() for row in rows(said, truth, classes)]
    learner = over_maps(task, Segmentation, parse(TAKES), classes)
    result = []
    own = task.said("mask", task.test) if task.row == "trained" else None
    if own is not None:
        names: Any = task.method.classes  # type: ignore[union-attr]
        result += [{**row, "by": "masks"} for row in rows(own.byte().numpy(), masks_of(task.test, names), names)]
    said = nets.rows(learner, learner.says()["mask"], task.test, task.device)
    return result + [{**row, "by": "maps"} for row in rows(said.byte().numpy(), truth, classes)]


def rows(said: np.ndarray, truth: np.ndarray, classes: tuple[str, ...]) -> list[dict]:
    """Numbers of classes that are said and true ones [n, h, w] -> what was measured; see `confusion`.

    The IoU of a class is the share of the pixels that are rightly of it in those that are of it or said to be, over
    all items together; a class that no pixel is, nor is said to be, has none.
    """
    table = confusion(said, truth, len(classes))
    right, either = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    found = {name: float(right[i] / either[i]) for i, name in enumerate(classes) if either[i]}
    return [
        {"metric": "mean IoU", "value": float(np.mean(list(found.values()))), "classes": found},
        {"metric": "pixel accuracy", "value": float(right.sum() / table.sum())},
    ]


def confusion(said: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """How many pixels of each class (a row) are said to be of each one; those that are ignored do not count."""
    known = truth != IGNORED
    return np.bincount(count * truth[known].astype(np.int64) + said[known], minlength=count**2).reshape(count, count)


def masks_of(samples: Samples, classes: tuple[str, ...]) -> np.ndarray:
    """The masks of samples, uint8 [n, h, w], in the numbers of `classes`. Raises: UsageError: they have others."""
    masks = samples.parts["mask"]
    if unknown := [name for name in masks.classes if name not in classes]:
        raise UsageError(
            f"The masks of {samples.source} have the class {unknown[0]!r}, and those learned from have not: give both "
            "the same classes.txt."
        )
    table = np.full(IGNORED + 1, IGNORED, dtype=np.uint8)
    table[: len(masks.classes)] = [classes.index(name) for name in masks.classes]
    truth = table[masks.array[..., 0]]
    if (truth == IGNORED).all():
        raise UsageError(f"The masks of {samples.source} name the class of no pixel: draw some.")
    return truth


def majority(train: Samples, test: Samples) -> np.ndarray:
    """The class that most training pixels have, at every pixel of the test."""
    counts = np.bincount(train.parts["mask"].array.ravel(), minlength=IGNORED + 1)[:IGNORED]
    return np.full(test.parts["mask"].array.shape[:3], counts.argmax())


def by_colour(train: Samples, test: Samples) -> np.ndarray:
    """What logistic regression says of each pixel of the test, from its colour and its place."""
    labels = train.parts["mask"].array.ravel()
    some = np.random.default_rng(0).permutation(np.flatnonzero(labels != IGNORED))[:PIXELS]
    items, places = np.divmod(some, labels.size // len(train))
    chosen = np.unique(items)
    pixels = np.concatenate([_pixels(train, item)[places[items == item]] for item in chosen])
    known = np.concatenate([labels[some[items == item]] for item in chosen])
    learned = make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=300))
    learned.fit(pixels, known)
    return np.stack([learned.predict(_pixels(test, item)).reshape(test.shape[:2]) for item in range(len(test))])


def _pixels(samples: Samples, item: int) -> np.ndarray:
    """The colours of an image and where they are: float [h * w, channels + 2]."""
    h, w, channels = samples.shape
    place = np.stack(np.meshgrid(np.arange(h) / h, np.arange(w) / w, indexing="ij"), axis=2)
    colours = samples.read(np.array([item]))[0] / 255
    return np.concatenate([colours, place], axis=2).reshape(h * w, channels + 2)
