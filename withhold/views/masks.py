"""Which parts to withhold."""

import torch
from torch import Tensor


def random_mask(n: int, tokens: int, ratio: float, rng: torch.Generator) -> Tensor:
    """bool [n, tokens] with exactly round(tokens * ratio) true in every row, at random places."""
    order = torch.rand(n, tokens, generator=rng, device=rng.device).argsort(1)
    return order < round(tokens * ratio)
