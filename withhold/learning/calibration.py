"""Calibration: probabilities that are as high as the share of answers that is right."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
WIDEST = 100.0
"""The temperature is sought between its inverse and this: where every answer is right, there is no best one."""


def temperature(scores: Tensor, labels: Tensor) -> float:
    """What scores [n, k] are divided by, so that the labels [n] have the least mean negative log-likelihood.

    The labels are of items that the scores were not learned from.

    Source: Guo, Pleiss, Sun & Weinberger, ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    bound = math.log(WIDEST)
    found = minimize_scalar(
        lambda log: F.cross_entropy(scores.double() / math.exp(log), labels).item(), bounds=(-bound, bound)
    )
    return math.exp(found.x)


def calibration_error(shares: Tensor, labels: Tensor) -> float:
    """The expected calibration error of probabilities [n, k] in 15 bins of equal width, in [0, 1].

    It is the mean distance of how sure the answers are from how many of them are right, in each bin.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015.
    """
    sure, answers = shares.max(1)
    bins = (sure * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=shares.dtype).index_add_(0, bins, sure - (answers == labels).to(shares.dtype))
    return gaps.abs().sum().item() / len(labels)
