"""A cache for constant tensors."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Options = ParamSpec("Options")
Made = TypeVar("Made")


def cached(make: Callable[Options, Made]) -> Callable[Options, Made]:
    """Cache the results of `make` by its arguments. They are made outside inference mode, so autograd can use them."""

    @functools.lru_cache(maxsize=16)
    @functools.wraps(make)
    def made(*arguments: Options.args, **options: Options.kwargs) -> Made:
        with torch.inference_mode(False):
            return make(*arguments, **options)

    return made  # type: ignore[return-value]  # whose arguments mypy does not see
