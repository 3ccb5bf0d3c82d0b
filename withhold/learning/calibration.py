"""Calibration of probabilities to the observed accuracy."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.learning.folds import Folds

BINS = 15
FEW = 20
"""Fewest items per bin on average; with fewer, the error is mostly chance. There must be two bins."""
WIDEST = 100.0
"""Largest temperature; the smallest is its inverse."""
PRIOR = 0.5
"""Standard deviation of the prior of the temperature's logarithm."""


def temperature(scores: Tensor, labels: Tensor) -> float:
    """Temperature for scores [repeats, n, k] that minimises the negative log-likelihood of held-out labels [n].

    A normal prior around 0 on its logarithm regularises the fit for few labels. Without it, probabilities would go to 1
    if all predictions are correct.

    Source: Guo, Pleiss, Sun & Weinberger, ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    bound, flat, told = math.log(WIDEST), scores.double().flatten(0, 1), labels.repeat(len(scores))

    def cost(log: float) -> float:
        likelihood = F.cross_entropy(flat / math.exp(log), told).item()
        return len(labels) * likelihood + log**2 / (2 * PRIOR**2)  # repeats hold the same items

    return math.exp(minimize_scalar(cost, bounds=(-bound, bound)).x)


def cross_fitted(scores: Tensor, labels: Tensor, drawn: Folds) -> Tensor:
    """Probabilities of scores [repeats, n, k], each fold with the temperature fitted to the other folds' labels [n].

    So no item is judged by a temperature fitted to its own label. Items that no fold holds out get 0.

    Args:
        drawn: the folds of each repeat; further repeats are ignored.
    """
    shares = torch.zeros_like(scores)
    for said, found, parts in zip(scores, shares, drawn, strict=False):
        for _, held in parts:
            others = np.concatenate([rest for _, rest in parts if rest is not held])
            found[held] = (said[held] / temperature(said[None, others], labels[others])).softmax(1)
    return shares


def calibration_error(shares: Tensor, labels: Tensor) -> float | None:
    """Expected calibration error of probabilities [repeats, n, k], in [0, 1], with 2 to 15 bins of equally many items.

    It is the mean distance between confidence and accuracy over the bins. Chance varies the accuracy in a bin, which
    increases the error. The number of bins depends on the items only: repeats hold the same ones. With one bin the
    error would be small whenever the mean confidence is right, so it is None for fewer than 40 items.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015; bins of equally many items: Nguyen & O'Connor, EMNLP 2015.
    """
    count = min(BINS, len(labels) // FEW)
    if count < 2:
        return None
    sure, answers = shares.flatten(0, 1).max(1)
    gaps = sure - (answers == labels.repeat(len(shares))).to(sure.dtype)
    parts = gaps[sure.argsort(stable=True)].tensor_split(count)
    return sum(part.sum().abs().item() for part in parts) / len(gaps)
