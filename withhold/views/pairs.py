"""Image and sound pairs: views of both, negative partners, and heat maps over images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.augment import augment
from withhold.views.color import lightness, to_float
from withhold.views.precision import precise
from withhold.views.sounds import gain


def view_pairs(clips: Tensor, sounds: Tensor, rng: torch.Generator, *, size: int, flip: float) -> tuple[Tensor, Tensor]:
    """Clips uint8 [n, t, c, h, w], sounds int16 [n, s] -> float [n, t, c, size, size] in [0, 1], [n, s] in [-1, 1].

    The augmentation is mild: crops of 60 % or more of the frame, flipped with probability `flip`, the same for all
    frames of a clip; the sound up to 1 dB louder or softer.
    """
    return augment(clips, rng, size=size, crop=(0.6, 1.0), flip=flip), gain(to_float(sounds), rng, 1.0)


def partners(n: int, rng: torch.Generator) -> Tensor:
    """For each of n samples the index of another one, int64 [n]: a random permutation without fixed points (n above 1).

    It is drawn from the permutations that are a single cycle.
    """
    order = torch.randperm(n, generator=rng, device=rng.device)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


@precise
def overlay(images: Tensor, maps: Tensor) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] in grey, with maps [n, 1, h', w'] in red -> float [n, 3, h, w] in [0, 1].

    Each map is scaled from its smallest value to its largest.
    """
    grey = images if images.shape[1] == 1 else lightness(images)
    heat = stretch(maps, images.shape[2:])
    return torch.cat([torch.maximum(grey, heat), grey * (1 - heat), grey * (1 - heat)], dim=1)


@precise
def stretch(maps: Tensor, size: torch.Size) -> Tensor:
    """Maps [n, 1, h', w'] -> [n, 1, h, w] of `size` (h, w), each scaled from 0 at its minimum to 1 at its maximum."""
    heat = F.interpolate(maps.float(), size, mode="bilinear")
    low, high = heat.aminmax(dim=2, keepdim=True)
    low, high = low.amin(3, keepdim=True), high.amax(3, keepdim=True)
    return (heat - low) / (high - low).clamp(min=1e-6)
