"""Keypoints: places that people have marked, by linear regression from what a network says of an image."""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from withhold.errors import UsageError
from withhold.evaluation.task import Task

TAKES = "image + points"
STRENGTHS = (1e-3, 1e-1, 1e1, 1e3, 1e5)


def measure(task: Task) -> list[dict]:
    """How far off places are, regressed from the points that the method discovered ("points") and from features.

    The "error" is the distance to the true place, as a share of the diagonal of the box around the item's true places,
    averaged over all places that are marked, in items where these are two or more. "chance" is that of who always says
    the mean of the training items. The regression is ridge regression, of the strength that leaving each training item
    out likes best.
    """
    size = task.train.shape[0]
    known, truth = (part.parts["points"].values / size for part in (task.train, task.test))
    if known.shape[1:] != truth.shape[1:]:
        raise UsageError(
            f"{task.train.source} marks {known.shape[1]} points in an image and {task.test.source} {truth.shape[1]}: "
            "mark the same ones in both."
        )
    if not np.isfinite(known).all(2).any(0).all():
        raise UsageError(f"{task.train.source} marks a point in no item at all: mark each one in some.")
    if not (np.isfinite(truth).all(2).sum(1) > 1).any():
        raise UsageError(
            f"{task.test.source} marks fewer than two points in every item, and the error is a share of the box around "
            "them: mark more."
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
    """Numbers [n, d] with places [n, m, c], NaN where not known, and numbers [q, d] -> their places [q, m, c]."""
    said = np.empty((len(queries), *places.shape[1:]))
    known, which = np.unique(np.isfinite(places).all(2), axis=1, return_inverse=True)
    for group, items in enumerate(known.T):  # of the places that are marked in the same items, which is mostly all
        learned = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS))
        learned.fit(bank[items], places[items][:, which == group].reshape(items.sum(), -1))
        said[:, which == group] = learned.predict(queries).reshape(len(queries), -1, places.shape[2])
    return said


def error(said: np.ndarray, true: np.ndarray) -> float:
    """Places [n, m, 2] that are said and true ones, NaN where not known -> the mean error, see `measure`."""
    boxed = np.isfinite(true).all(2).sum(1) > 1
    said, true = said[boxed], true[boxed]
    diagonal = np.linalg.norm(np.nanmax(true, axis=1) - np.nanmin(true, axis=1), axis=1)
    kept = diagonal > 0  # of points that all lie at one place there is no box
    return float(np.nanmean(np.linalg.norm(said - true, axis=2)[kept] / diagonal[kept, None]))
