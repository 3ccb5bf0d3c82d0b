"""Random numbers for a batch, drawn on the generator's device."""

import torch
from torch import Tensor


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """float [n], uniform between `low` and `high`."""
    return torch.rand(n, generator=rng, device=rng.device) * (high - low) + low


def chance(n: int, probability: float, rng: torch.Generator) -> Tensor:
    """bool [n], true with `probability`."""
    return torch.rand(n, generator=rng, device=rng.device) < probability


def where(mask: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    """The images [n, c, h, w] of `changed` where `mask` [n] is true, those of `images` elsewhere."""
    return torch.where(mask[:, None, None, None], changed, images)
