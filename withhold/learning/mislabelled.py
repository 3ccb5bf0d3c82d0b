"""Detection of mislabelled items."""

import numpy as np


def mislabelled(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Positions of the items whose label is probably wrong, the most probable first: int64.

    An item is confidently of a class if its probability is at least the average of the items labelled as that class.
    An item looks mislabelled if it is confidently of another class than its label, and its label is not its most
    probable class. Items are sorted by how far the label's probability is behind.

    Source: Northcutt, Jiang & Chuang, JAIR 2021 (confident learning; the ranking is their normalised margin).

    Args:
        shares: class probabilities [n, k] from models that were not trained on the item's label.
        labels: the given labels, int64 [n].
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
