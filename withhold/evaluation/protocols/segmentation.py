"""Semantic segmentation: the class of every pixel, by a head trained on frozen maps."""

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
"""The most pixels of training images for the control "colour"."""


def measure(task: Task) -> list[dict]:
    """The mean IoU and the pixel accuracy.

    "by" is "masks" for the method's own masks, and "maps" for a head that is trained on the training masks over frozen
    maps, for the task's budget of images, which is the same for every encoder. The raw controls are "majority", the
    most frequent class everywhere, and "colour", logistic regression on the colour and position of a pixel and their
    products, or the majority if it sees pixels of only one class.
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
    """Predicted and true classes [n, h, w] -> rows; see `confusion`.

    The IoU of a class is computed over the pixels of all items together. A class that is neither present nor predicted
    has none.
    """
    table = confusion(said, truth, len(classes))
    right, either = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    found = {name: float(right[i] / either[i]) for i, name in enumerate(classes) if either[i]}
    return [
        {"metric": "mean IoU", "value": float(np.mean(list(found.values()))), "classes": found},
        {"metric": "pixel accuracy", "value": float(right.sum() / table.sum())},
    ]


def confusion(said: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """The number of pixels of each true class (rows) and predicted class (columns), without ignored pixels."""
    known = truth != IGNORED
    return np.bincount(count * truth[known].astype(np.int64) + said[known], minlength=count**2).reshape(count, count)


def masks_of(samples: Samples, classes: tuple[str, ...]) -> np.ndarray:
    """Masks of samples, uint8 [n, h, w], numbered as in `classes`. Raises: UsageError: they have other classes."""
    masks = samples.parts["mask"]
    if unknown := [name for name in masks.classes if name not in classes]:
        raise UsageError(
            f"The masks of {samples.source} have the class {unknown[0]!r}, but the training masks do not. Give both "
            "the same classes.txt."
        )
    table = np.full(IGNORED + 1, IGNORED, dtype=np.uint8)
    table[: len(masks.classes)] = [classes.index(name) for name in masks.classes]
    truth = table[masks.array[..., 0]]
    if (truth == IGNORED).all():
        raise UsageError(f"The masks of {samples.source} have no pixel with a class. Draw some.")
    return truth


def majority(train: Samples, test: Samples) -> np.ndarray:
    """Predict the most frequent class of the training pixels at every test pixel."""
    counts = np.bincount(train.parts["mask"].array.ravel(), minlength=IGNORED + 1)[:IGNORED]
    return np.full(test.parts["mask"].array.shape[:3], counts.argmax())


def by_colour(train: Samples, test: Samples) -> np.ndarray:
    """Predict the class of each test pixel by logistic regression on its colour and position; see `measure`."""
    labels = train.parts["mask"].array.ravel()
    some = np.random.default_rng(0).permutation(np.flatnonzero(labels != IGNORED))[:PIXELS]
    if len(np.unique(labels[some])) < 2:  # logistic regression needs two
        return majority(train, test)
    items, places = np.divmod(some, labels.size // len(train))
    chosen = np.unique(items)
    pixels = np.concatenate([_pixels(train, item)[places[items == item]] for item in chosen])
    known = np.concatenate([labels[some[items == item]] for item in chosen])
    learned = make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=300))
    learned.fit(pixels, known)
    return np.stack([learned.predict(_pixels(test, item)).reshape(test.shape[:2]) for item in range(len(test))])


def _pixels(samples: Samples, item: int) -> np.ndarray:
    """The colour and position of each pixel of an image: float [h * w, channels + 2]."""
    h, w, channels = samples.shape
    place = np.stack(np.meshgrid(np.arange(h) / h, np.arange(w) / w, indexing="ij"), axis=2)
    colours = samples.read(np.array([item]))[0] / 255
    return np.concatenate([colours, place], axis=2).reshape(h * w, channels + 2)
