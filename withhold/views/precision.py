"""Views are float32, whatever the precision of the network that they are for."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

Options = ParamSpec("Options")


def precise(view: Callable[Concatenate[Tensor, Options], Tensor]) -> Callable[Concatenate[Tensor, Options], Tensor]:
    """Let `view(images, ...)` compute with autocast off."""

    @functools.wraps(view)
    def wrapped(images: Tensor, *arguments: Options.args, **options: Options.kwargs) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return view(images, *arguments, **options)

    return wrapped
