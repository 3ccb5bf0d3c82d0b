"""A decorator that computes losses in float32, whatever the precision of the network."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def float32(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run `loss` with its floating-point tensors converted to float32 and autocast off."""

    @functools.wraps(loss)
    def precise(first: Tensor, *rest, **options) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(_float(first), *map(_float, rest), **{name: _float(value) for name, value in options.items()})

    return precise


def _float(value):
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
