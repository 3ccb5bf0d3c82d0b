"""Random numbers for a batch, drawn on the generator's device."""

import torch
from torch import Tensor


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """float [n], uniform between `low` and `high`."""
    return torch.rand(n, generator=rng, device=rng.device) * (high - low) + low


def chance(n: int, probability: float, rng: torch.Generator) -> Tensor:
    """bool [n], true with `probability`."""
    return torch.rand(n, generator=rng, device=rng.device) < probability


def beta(n: int, concentration: float, rng: torch.Generator) -> Tensor:
    """float [n] from the symmetric beta distribution with both parameters equal to `concentration`, above 0.

    The share of the first of two gamma variables, G(a) = G(a + 1) * U ** (1 / a), computed from their logarithms, which
    do not underflow.
    """
    larger = torch._standard_gamma(torch.full((2, n), concentration + 1, device=rng.device), generator=rng)
    first, second = larger.log() + torch.rand(2, n, generator=rng, device=rng.device).log() / concentration
    return (first - second).sigmoid()


def where(mask: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    """For each sample, `changed` [n, ...] where `mask` [n] is true, otherwise `images`."""
    return torch.where(mask.view(-1, *[1] * (images.ndim - 1)), changed, images)
