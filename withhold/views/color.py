"""Colour: brightness, saturation, hue and greyscale as one small matrix per sample; lightness and Lab.

Brightness, contrast (about the mean luma), saturation, hue and greyscale are affine maps of a colour. In YIQ,
brightness and contrast scale the colour, saturation scales its chroma and hue rotates it, so they commute. Their order
matters only if values are clamped in between; here they are clamped once, at the end.
"""

import math
from typing import Any

import torch
from torch import Tensor

from withhold.views.caching import cached
from withhold.views.random import chance, uniform

LUMA = (0.299, 0.587, 0.114)
"""Luma weights of ITU-R BT.601, as in Pillow and torchvision."""

Jitter = tuple[float, float, float, float]
"""Largest change of brightness, contrast, saturation and hue (in turns), as in torchvision's ColorJitter."""

# Linear sRGB to CIE XYZ, as shares of the white point D65, and back (IEC 61966-2-1).
_Y = (0.2126729, 0.7151522, 0.0721750)
_XYZ = torch.tensor([(0.4124564, 0.3575761, 0.1804375), _Y, (0.0193339, 0.1191920, 0.9503041)], dtype=torch.float64)
_TO_XYZ = _XYZ / _XYZ.sum(1, keepdim=True)
_FROM_XYZ = _TO_XYZ.inverse()
_DARK = (6 / 29) ** 3


def to_float(images: Any) -> Any:
    """Convert a batch to the input of a network.

    Images uint8 [n, c, h, w] -> float32 in [0, 1], channels last; clips uint8 [n, t, c, h, w] -> float32 in [0, 1];
    sounds int16 [n, s] -> float32 in [-1, 1]. Float values and token ids are kept. Tuples, such as clips with their
    sounds, are converted part by part.
    """
    if isinstance(images, tuple):
        return tuple(map(to_float, images))
    if images.dtype in (torch.int32, torch.int64):
        return images
    form = torch.channels_last if images.ndim == 4 else torch.preserve_format
    floats = images.to(torch.float32, memory_format=form)
    scale = {torch.uint8: 255, torch.int16: 32768}.get(images.dtype)
    return floats if scale is None else floats / scale


def to_grey(images: Tensor) -> Tensor:
    """Images uint8 [..., 3, h, w] -> their luma, uint8 [..., 1, h, w], rounded as by Pillow's `convert("L")`."""
    red, green, blue = images.to(torch.int32).unbind(-3)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8).unsqueeze(-3)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Images float [n, 1 or 3, h, w] in [0, 1] -> [n, channels, h, w]: colour to CIE lightness / 100, grey repeated."""
    if images.shape[1] == channels:
        return images
    return lightness(images) if channels == 1 else images.expand(-1, channels, -1, -1)


@cached
def _chroma(device: torch.device) -> Tensor:
    """float [3, 3, 3]: matrices from RGB to grey, to the difference from grey, and to that rotated by 90 degrees."""
    yiq = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
    turn = torch.tensor([[0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    grey = torch.tensor([LUMA] * 3, dtype=torch.float64)
    quarter = yiq.inverse() @ turn @ yiq
    return torch.stack([grey, torch.eye(3, dtype=torch.float64) - grey, quarter]).float().to(device)


def color_matrices(brightness: Tensor, saturation: Tensor, hue: Tensor, channels: int) -> Tensor:
    """Factors [n] and hue shifts [n] in turns -> matrices [n, channels, channels]; grey images use brightness only.

    The hue shift is a rotation about the grey axis of YIQ, which preserves the luma: a linear version of HSV's.
    """
    if channels == 1:
        return brightness[:, None, None]
    angle = hue * (2 * math.pi)
    parts = torch.stack([torch.ones_like(angle), saturation * angle.cos(), saturation * angle.sin()], 1)
    return (brightness[:, None] * parts @ _chroma(hue.device).flatten(1)).view(-1, 3, 3)


def draw_jitter(n: int, jitter: Jitter, probability: float, rng: torch.Generator) -> list[Tensor]:
    """Factors of brightness, contrast and saturation and shifts of hue, [n] each; neutral where not applied."""
    on = chance(n, probability, rng)
    factors = [uniform(n, max(0.0, 1 - width), 1 + width, rng).where(on, 1) for width in jitter[:3]]
    return [*factors, uniform(n, -jitter[3], jitter[3], rng).where(on, 0)]


def luma(colors: Tensor) -> Tensor:
    """Colours [n, 1 or 3] -> grey values [n]."""
    if colors.shape[1] == 1:
        return colors[:, 0]
    red, green, blue = (weight * part for weight, part in zip(LUMA, colors.unbind(1), strict=True))
    return red + green + blue


def lightness(images: Tensor) -> Tensor:
    """sRGB images [n, 3, h, w] in [0, 1] -> CIE L* / 100 [n, 1, h, w] in [0, 1]."""
    red, green, blue = _linear(images).split(1, 1)
    y = _Y[0] * red + _Y[1] * green + _Y[2] * blue
    return 1.16 * _root(y) - 0.16


def rgb_to_lab(images: Tensor) -> Tensor:
    """sRGB images [n, 3, h, w] in [0, 1] -> CIE Lab [n, 3, h, w] under D65: L in [0, 100], a and b about +-100.

    Source: IEC 61966-2-1 (sRGB), CIE 15 (Lab).
    """
    x, y, z = _root(_mix(_linear(images), _TO_XYZ)).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIE Lab [n, 3, h, w] under D65 -> sRGB [n, 3, h, w] in [0, 1]; colours outside sRGB are clamped."""
    y = (lab[:, 0] + 16) / 116
    roots = torch.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], 1)
    tristimulus = torch.where(roots > 6 / 29, roots**3, (roots - 16 / 116) * (3 * (6 / 29) ** 2))
    linear = _mix(tristimulus, _FROM_XYZ).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def _mix(colors: Tensor, matrix: Tensor) -> Tensor:
    """Each colour of [n, 3, h, w] times a constant matrix, as sums: autocast would run a product in half precision."""
    first, second, third = colors.split(1, 1)
    return torch.cat([a * first + b * second + c * third for a, b, c in matrix.tolist()], 1)


def _linear(images: Tensor) -> Tensor:
    return torch.where(images > 0.04045, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, images / 12.92)


def _root(values: Tensor) -> Tensor:
    return torch.where(values > _DARK, values.clamp(min=_DARK) ** (1 / 3), values / (3 * (6 / 29) ** 2) + 4 / 29)
