"""Average precision of detected boxes, as in COCO (Lin et al., ECCV 2014; pycocotools are the definition)."""

from collections.abc import Sequence

import numpy as np

from withhold.needs import CROWD

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds from which a box counts as found."""
RECALLS = np.linspace(0, 1, 101)
"""Recalls at which the precision is read."""
MOST = 100
"""The most boxes of a class in an image that count, by score."""


def average_precision(said: Sequence[np.ndarray], truth: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """The mean precision at `RECALLS` for each class and IoU of `THRESHOLDS`, [k, 10]; NaN for a class without boxes.

    Args:
        said: predicted boxes [m, 6] of each image: left, top, right, bottom, class, score.
        truth: true boxes [m, 6] of each image: left, top, right, bottom, class, and 0 or the reason to ignore it (see
            `needs.PARTS`). An ignored box need not be found, and a prediction there is not an error.
    """
    found = np.full((classes, len(THRESHOLDS)), np.nan)
    for number in range(classes):
        pairs = [
            (some[some[:, 4] == number], true[true[:, 4] == number]) for some, true in zip(said, truth, strict=True)
        ]
        count = sum(int((true[:, 5] == 0).sum()) for _, true in pairs)
        if count:
            scores, right, wrong = map(np.concatenate, zip(*(_judged(*pair) for pair in pairs), strict=True))
            order = np.argsort(-scores, kind="stable")
            for place in range(len(THRESHOLDS)):
                hits, misses = right[order, place].cumsum(), wrong[order, place].cumsum()
                found[number, place] = _mean_precision(hits / count, hits / np.maximum(hits + misses, 1e-12))
    return found


def overlaps(said: np.ndarray, truth: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """The IoU of boxes [m, 4] and [t, 4], [m, t]; for a crowd's box the share of the predicted box inside it."""
    start, end = np.maximum(said[:, None, :2], truth[:, :2]), np.minimum(said[:, None, 2:], truth[:, 2:])
    shared = (end - start).clip(0).prod(2)
    own, other = ((boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (said, truth))
    either = own[:, None] + other - shared
    whole = either if crowd is None else np.where(crowd, own[:, None], either)
    return shared / np.maximum(whole, 1e-12)


def _judged(said: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One class of one image -> scores [m] of predictions, and whether each is right, and wrong, at each IoU [m, 10].

    Predictions are matched in order of their scores, each with the unmatched true box that it overlaps most. An ignored
    box, which may be matched several times, is only used if no other box overlaps enough.
    """
    said = said[np.argsort(-said[:, 5], kind="stable")][:MOST]
    truth = truth[np.argsort(truth[:, 5] > 0, kind="stable")]
    ignored = truth[:, 5] > 0
    near = overlaps(said[:, :4], truth[:, :4], truth[:, 5] == CROWD)
    right, wrong = np.zeros((2, len(said), len(THRESHOLDS)), dtype=bool)
    for place, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(truth), dtype=bool)
        for row, reach in enumerate(near):
            able = (reach >= threshold) & free
            able &= ~ignored if (able & ~ignored).any() else ignored
            if not able.any():
                wrong[row, place] = True
                continue
            taken = len(reach) - 1 - np.argmax(np.where(able, reach, -1)[::-1])  # the last of equal ones
            right[row, place] = not ignored[taken]
            free[taken] = ignored[taken]
    return said[:, 5], right, wrong


def _mean_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """The mean over `RECALLS` of the best precision at that recall or above; 0 at recalls that are not reached."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(best, 0.0)[places].mean())
