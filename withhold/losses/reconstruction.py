"""How far a predicted image is from the true one."""

from torch import Tensor

from withhold.losses.precision import float32


@float32
def squared_error(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean squared error, or its mean weighted by `weight`; all three broadcast."""
    errors = (predicted - target).square()
    if weight is None:
        return errors.mean()
    weights = weight.expand_as(errors)
    return (errors * weights).sum() / weights.sum()


@float32
def psnr(error: Tensor) -> Tensor:
    """Mean squared error of values in [0, 1] -> peak signal-to-noise ratio in decibels, at most 100; no gradient."""
    return -10 * error.detach().clamp(min=1e-10).log10()
