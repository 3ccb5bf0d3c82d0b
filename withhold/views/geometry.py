"""Crops, flips and resizes as one matrix an axis, with the antialiasing that Pillow and torchvision apply."""

import math

import torch
from torch import Tensor

from withhold.views.color import chance, uniform


def flip(images: Tensor, rng: torch.Generator, probability: float = 0.5) -> Tensor:
    """Images [n, c, h, w] -> the same, mirrored left to right with `probability` for each."""
    mirrored = chance(len(images), probability, rng)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def draw_crops(
    n: int, height: int, width: int, area: tuple[float, float], aspect: tuple[float, float], rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes of torchvision's RandomResizedCrop in pixels -> top, left, height, width, float [n] each.

    A box whose area (a share of the image's) and aspect do not fit is drawn again, ten times at most; then it is the
    largest centred one whose aspect is in range.
    """
    share = uniform(n * 10, *area, rng).view(n, 10) * (height * width)
    ratio = uniform(n * 10, math.log(aspect[0]), math.log(aspect[1]), rng).view(n, 10).exp()
    widths, heights = (share * ratio).sqrt().round(), (share / ratio).sqrt().round()
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = fits.int().argmax(1, keepdim=True)
    found = fits.any(1)
    fallback_width = min(width, round(height * aspect[1]))
    fallback_height = min(height, round(width / aspect[0]))
    tall = torch.where(found, heights.gather(1, first)[:, 0], fallback_height)
    wide = torch.where(found, widths.gather(1, first)[:, 0], fallback_width)
    down, across = uniform(n, 0, 1, rng), uniform(n, 0, 1, rng)
    top = torch.where(found, (down * (height - tall + 1)).floor(), (height - fallback_height) // 2)
    left = torch.where(found, (across * (width - wide + 1)).floor(), (width - fallback_width) // 2)
    return top, left, tall, wide


def axis_weights(start: Tensor, length: Tensor, pixels: int, size: int, mirrored: Tensor | None = None) -> Tensor:
    """One axis of a crop from `start`, `length` pixels long [n], resized to `size` -> weights [n, size, pixels].

    A triangle as wide as the larger of an input and an output pixel, cut at the crop's edges: bilinear, antialiased.
    """
    step = (length / size)[:, None]
    across = torch.arange(size, device=start.device) + 0.5
    if mirrored is not None:
        across = torch.where(mirrored[:, None], size - across, across)
    centres = start[:, None] + step * across
    places = torch.arange(pixels, device=start.device) + 0.5
    weights = (1 - (places - centres[..., None]).abs() / step.clamp(min=1)[..., None]).clamp_(min=0)
    inside = (places > start[:, None]) & (places < (start + length)[:, None])
    weights = weights * inside[:, None]
    return weights / weights.sum(2, keepdim=True)


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images [n, c, h, w], weights [n, h', h] and [n, w', w] -> float [n, c, h', w']."""
    n, c, h, w = images.shape
    wide = torch.bmm(images.reshape(n, c * h, w), columns.transpose(1, 2)).view(n, c, h, -1)
    return torch.matmul(rows[:, None], wide)
