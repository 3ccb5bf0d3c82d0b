"""Keypoints: prediction of marked points by linear regression from a network's output."""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from withhold.errors import UsageError
from withhold.evaluation.task import Task

TAKES = "image + points"
STRENGTHS = (1e-3, 1e-1, 1e1, 1e3, 1e5)


def measure(task: Task) -> list[dict]:
    """The error of keypoints predicted from the points that the method discovered ("points") and from features.

    The "error" is the distance to the true point, as a share of the diagonal of the box around the item's true points,
    averaged over all marked points, in items with at least two. "chance" is the error of always predicting the mean of
    the training items. Predictions are by ridge regression, with a strength chosen by leave-one-out cross-validation.
    """
    size = task.train.shape[0]
    known, truth = (part.parts["points"].values / size for part in (task.train, task.test))
    if known.shape[1:] != truth.shape[1:]:
        raise UsageError(
            f"{task.train.source} marks {known.shape[1]} points in an image, but {task.test.source} marks "
            f"{truth.shape[1]}. Mark the same points in both."
        )
    if (np.isfinite(known).all(2).sum(0) < 2).any():
        raise UsageError(f"{task.train.source} has a point that fewer than two items mark. Mark it in more items.")
    if not (_diagonals(truth) > 0).any():
        raise UsageError(
            f"{task.test.source} marks fewer than two different points in every item, but the error needs the box "
            "around them. Mark more points."
        )
    said = [places.flatten(1) for part in (task.train, task.test) if (places := task.said("points", part)) is not None]
    found = {"features": [task.bank.cpu(), task.queries.cpu()]} | ({"points": said} if said else {})
    chance = error(np.broadcast_to(np.nanmean(known, axis=0), truth.shape), truth)
    return [
        {
            "metric": "error", "value": error(regress(bank.numpy(), queries.numpy(), known), truth), "chance": chance,
            "by": by,
        }
        for by, (bank, queries) in found.items()
    ]  # fmt: skip


def regress(bank: np.ndarray, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Features [n, d] with points [n, m, c], NaN where unknown, and features [q, d] -> their points [q, m, c]."""
    said = np.empty((len(queries), *places.shape[1:]))
    known, which = np.unique(np.isfinite(places).all(2), axis=1, return_inverse=True)
    for group, items in enumerate(known.T):  # points marked in the same items are fitted together
        learned = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS))
        learned.fit(bank[items], places[items][:, which == group].reshape(items.sum(), -1))
        said[:, which == group] = learned.predict(queries).reshape(len(queries), -1, places.shape[2])
    return said


def error(said: np.ndarray, true: np.ndarray) -> float:
    """Predicted and true points [n, m, 2], NaN where unknown -> the mean error, see `measure`."""
    diagonal = _diagonals(true)
    kept = diagonal > 0
    return float(np.nanmean(np.linalg.norm(said - true, axis=2)[kept] / diagonal[kept, None]))


def _diagonals(points: np.ndarray) -> np.ndarray:
    """The diagonal of the box around each item's points [n, m, 2], [n]; 0 without two different points."""
    marked = np.isfinite(points).all(2, keepdims=True)
    ends = (np.where(marked, points, fill) for fill in (-np.inf, np.inf))
    high, low = next(ends).max(1), next(ends).min(1)
    return np.linalg.norm(np.where(high > low, high - low, 0), axis=1)
