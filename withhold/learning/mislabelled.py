"""Which items look mislabelled."""

import numpy as np


def mislabelled(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The items whose label is likely to be wrong, the likeliest first: int64.

    An item is confidently of a class whose share is at least what the items told to be of it have on average. Those are
    named that are confidently of another class than the one that was told, which is not their likeliest either; first
    the one whose told class is furthest behind.

    Source: Northcutt, Jiang & Chuang, JAIR 2021 (confident learning; the ranking is their normalised margin).

    Args:
        shares: probabilities of the classes [n, k] from models that have not seen the item's label.
        labels: what was told, int64 [n].
    """
    rows = np.arange(len(labels))
    told = shares[rows, labels]
    counts = np.bincount(labels, minlength=shares.shape[1])
    usual = np.bincount(labels, told, minlength=shares.shape[1]) / np.maximum(counts, 1)
    confident = np.where((shares >= usual) & (counts > 0), shares, -1.0)
    likeliest = confident.argmax(1)
    others = shares.copy()
    others[rows, labels] = -1.0
    margins = told - others.max(1)
    found = np.flatnonzero((confident.max(1) >= 0) & (likeliest != labels) & (margins < 0))
    return found[np.argsort(margins[found], kind="stable")]
