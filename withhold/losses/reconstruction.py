"""Reconstruction and regression losses."""

from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


@float32
def squared_error(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean squared error, or its weighted mean if `weight` is given; all three broadcast."""
    errors = (predicted - target).square()
    if weight is None:
        return errors.mean()
    weights = weight.expand_as(errors)
    return (errors * weights).sum() / weights.sum()


@float32
def psnr(error: Tensor) -> Tensor:
    """Mean squared error of values in [0, 1] -> peak signal-to-noise ratio in decibels, at most 100; no gradient."""
    return -10 * error.detach().clamp(min=1e-10).log10()


@float32
def regression(predicted: Tensor, target: Tensor) -> Tensor:
    """2 - 2 * cosine of `predicted` [n, d] and `target` [n, d], averaged over rows (Grill et al., NeurIPS 2020, eq. 2).

    This is the squared distance of the normalised vectors: 0 if they agree, 2 if orthogonal, 4 if opposite.
    """
    return (2 - 2 * F.cosine_similarity(predicted, target, dim=1)).mean()
