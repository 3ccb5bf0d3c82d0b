"""A decorator that computes views in float32 under any autocast."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

Options = ParamSpec("Options")
Returned = TypeVar("Returned")


def precise(view: Callable[Concatenate[Tensor, Options], Returned]) -> Callable[Concatenate[Tensor, Options], Returned]:
    """Run `view(images, ...)` with autocast off."""

    @functools.wraps(view)
    def wrapped(images: Tensor, *arguments: Options.args, **options: Options.kwargs) -> Returned:
        with torch.autocast(images.device.type, enabled=False):
            return view(images, *arguments, **options)

    return wrapped
