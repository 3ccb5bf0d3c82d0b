"""Tensors that are made once."""

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

Options = ParamSpec("Options")


def cached(make: Callable[Options, Tensor]) -> Callable[Options, Tensor]:
    """Keep what `make` gives for the arguments of late; made under inference mode, it serves a gradient as well."""

    @functools.lru_cache(maxsize=16)
    @functools.wraps(make)
    def made(*arguments: Options.args, **options: Options.kwargs) -> Tensor:
        with torch.inference_mode(False):
            return make(*arguments, **options)

    return made  # type: ignore[return-value]  # whose arguments mypy does not see
