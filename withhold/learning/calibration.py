"""Calibration: probabilities that are as high as the share of answers that is right."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.learning.folds import Folds

BINS = 15
FEW = 20
"""Items a bin holds on average, or more: with fewer, chance alone is an error."""
WIDEST = 100.0
"""The temperature is sought between its inverse and this."""
PRIOR = 0.5
"""The deviation of its logarithm, before any label is seen."""


def temperature(scores: Tensor, labels: Tensor) -> float:
    """What scores [repeats, n, k] are divided by, so that the labels [n] have the least negative log-likelihood.

    The labels are of items that the scores were not learned from. Few of them say little: the logarithm is normally
    distributed around 0 beforehand. Without that, where all answers are right, all would be certain.

    Source: Guo, Pleiss, Sun & Weinberger, ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    bound, flat, told = math.log(WIDEST), scores.double().flatten(0, 1), labels.repeat(len(scores))

    def cost(log: float) -> float:
        likelihood = F.cross_entropy(flat / math.exp(log), told).item()
        return len(labels) * likelihood + log**2 / (2 * PRIOR**2)  # a repeat holds no other items

    return math.exp(minimize_scalar(cost, bounds=(-bound, bound)).x)


def cross_fitted(scores: Tensor, labels: Tensor, drawn: Folds) -> Tensor:
    """The probabilities of scores [repeats, n, k], those of a fold by the temperature of the other folds' labels [n].

    By that of all labels they would be judged by what they were fitted to. Those of items that no fold holds out are 0.

    Args:
        drawn: the folds of each repeat, or of more.
    """
    shares = torch.zeros_like(scores)
    for said, found, parts in zip(scores, shares, drawn, strict=False):
        for _, held in parts:
            others = np.concatenate([rest for _, rest in parts if rest is not held])
            found[held] = (said[held] / temperature(said[None, others], labels[others])).softmax(1)
    return shares


def calibration_error(shares: Tensor, labels: Tensor) -> float:
    """The expected calibration error of probabilities [n, k] in 15 bins of equal width, or in fewer, in [0, 1].

    It is the mean distance of how sure the answers are from how many of them are right, in each bin. Of few items it is
    an upper estimate: chance alone moves the share that is right.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015.
    """
    sure, answers = shares.max(1)
    count = max(1, min(BINS, len(labels) // FEW))
    bins = (sure * count).ceil().long().clamp(1, count) - 1
    gaps = torch.zeros(count, dtype=shares.dtype).index_add_(0, bins, sure - (answers == labels).to(shares.dtype))
    return gaps.abs().sum().item() / len(labels)
