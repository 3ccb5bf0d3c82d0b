"""Saying the same of the same image."""

import math

from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


@float32
def sharpen(shares: Tensor, temperature: float) -> Tensor:
    """Shares of the classes [n, k] to the power of 1 / `temperature`, normalised (Berthelot et al., 2019, equation 7).

    Of softmax(scores) it is softmax(scores / temperature).
    """
    return (shares.log() / temperature).softmax(1)


@float32
def divergence(target: Tensor, scores: Tensor) -> Tensor:
    """KL(target || softmax(scores)) of every row [n], from shares of the classes [n, k] and scores [n, k]."""
    return F.kl_div(scores.log_softmax(1), target, reduction="none").sum(1)


def ramp_up(progress: float, share: float) -> float:
    """exp(-5 (1 - t)^2), where t goes from 0 to 1 over the first `share` of the training, and stays (Laine & Aila)."""
    return math.exp(-5 * (1 - min(1.0, progress / share)) ** 2)
