"""Colour: one small matrix and one offset a sample, whatever the changes, applied in one product.

Brightness, contrast (about the mean luma), saturation, hue and greyscale are affine maps of a colour. Written in YIQ,
brightness scales all of it, saturation scales the chroma and hue turns it, so that they commute: the order in which a
chain applies them matters only through the clamping in between, and here the clamp is the last step.
"""

import functools
import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: the grey of torchvision and Pillow."""

Jitter = tuple[float, float, float, float]
"""Brightness, contrast, saturation, hue: half the widths of the ranges, as in torchvision's ColorJitter."""


def to_float(images: Tensor) -> Tensor:
    """Images uint8 [n, c, h, w], or float in [0, 1] -> float32 in [0, 1], channels last."""
    floats = images.to(torch.float32, memory_format=torch.channels_last)
    return floats / 255 if images.dtype == torch.uint8 else floats


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """[n] numbers between `low` and `high`, drawn on the generator's device."""
    return torch.rand(n, generator=rng, device=rng.device) * (high - low) + low


def chance(n: int, probability: float, rng: torch.Generator) -> Tensor:
    """bool [n], true with `probability`."""
    return torch.rand(n, generator=rng, device=rng.device) < probability


@functools.cache
def _basis(device: torch.device) -> Tensor:
    """float [3, 3, 3]: grey, the chroma, and the chroma after a quarter turn of hue, as matrices on RGB."""
    yiq = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
    turn = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    grey = torch.tensor([LUMA] * 3, dtype=torch.float64)
    return torch.stack([grey, torch.eye(3, dtype=torch.float64) - grey, yiq.inverse() @ turn @ yiq]).float().to(device)


def color_matrices(brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Factors [n] and hue shifts [n] in turns -> matrices [n, 3, 3]; contrast also needs `color_offsets`."""
    angle = hue * (2 * math.pi)
    parts = torch.stack([torch.ones_like(angle), saturation * angle.cos(), saturation * angle.sin()], 1)
    return torch.einsum("nk,kij->nij", parts * (brightness * contrast)[:, None], _basis(brightness.device))


def draw_jitter(n: int, jitter: Jitter, probability: float, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Per-sample brightness, contrast and saturation factors and hue shifts, each [n]; neutral where not applied."""
    on = chance(n, probability, rng).float()
    factors = [1 + on * (uniform(n, max(0.0, 1 - width), 1 + width, rng) - 1) for width in jitter[:3]]
    return *factors, on * uniform(n, -jitter[3], jitter[3], rng)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Images float [n, 1 or 3, h, w] in [0, 1] -> [n, channels, h, w]: colour to CIE lightness / 100, grey repeated."""
    if images.shape[1] == channels:
        return images
    return lightness(images) if channels == 1 else images.expand(-1, channels, -1, -1)


def lightness(images: Tensor) -> Tensor:
    """sRGB images [n, 3, h, w] in [0, 1] -> CIE L* / 100 [n, 1, h, w] in [0, 1]."""
    red, green, blue = _linear(images).split(1, 1)
    return 1.16 * _cube_root(0.2126729 * red + 0.7151522 * green + 0.0721750 * blue) - 0.16


def _linear(images: Tensor) -> Tensor:
    return torch.where(images > 0.04045, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, images / 12.92)


def _cube_root(values: Tensor) -> Tensor:
    return torch.where(values > 0.008856452, values.clamp(min=0.008856452) ** (1 / 3), values * 7.787037 + 16 / 116)
