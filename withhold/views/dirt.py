"""Dirt and raindrops on a pane in front of the camera."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.precision import precise
from withhold.views.random import uniform

EARTH = (1.0, 0.85, 0.65)
"""Red, green and blue of dirt, with the largest value 1."""
LENS = 2.0
"""Width of the region that a drop shows, as a multiple of the drop's width."""


def specks(
    n: int, height: int, width: int, rng: torch.Generator, largest: int, cover: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Round specks at random places: their opacity, and the offset of each pixel from the centre of its cell's speck.

    Each speck lies in its own cell of a grid. The offset of the grid is random in every image.

    Args:
        largest: width of the cells, and of the largest speck, in pixels; the smallest is a third as wide.
        cover: largest share of the cells that have a speck; the share of each image is uniform from 0 to this.

    Returns:
        opacity float [n, 1, height, width]: 0 outside specks and, inside, one value per image from 1/2 to 1, with a
        soft edge of one pixel; and the offsets in pixels to the right and down, both float [n, height, width].
    """
    row, y = _cells(n, height, rng, largest)
    column, x = _cells(n, width, rng, largest)
    drawn = torch.rand(4, n, height // largest + 2, width // largest + 2, generator=rng, device=rng.device)
    image = torch.arange(n, device=rng.device)[:, None, None]
    chance, size, along, across = drawn[:, image, row[:, :, None], column[:, None]]
    radius = largest / 6 * (1 + 2 * size)
    right = x[:, None] - torch.lerp(radius, largest - radius, along)
    down = y[:, :, None] - torch.lerp(radius, largest - radius, across)
    there = chance < uniform(n, 0, cover, rng)[:, None, None]
    inside = (radius - torch.hypot(right, down)).clamp(0, 1) * there
    return inside[:, None] * uniform(n, 0.5, 1, rng).view(n, 1, 1, 1), right, down


@precise
def dirt(images: Tensor, rng: torch.Generator, *, largest: int = 8, cover: float = 0.5) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the same behind a pane with dirt on it; see `specks`.

    The dirt has one colour per image, from grey to brown. A second layer of specks is half as large.
    """
    n, c, h, w = images.shape
    brown = torch.tensor(EARTH[:c], device=images.device)
    shade = torch.lerp(torch.ones_like(brown), brown, uniform(n, 0, 1, rng)[:, None])
    color = (uniform(n, 0.1, 0.7, rng)[:, None] * shade)[:, :, None, None]
    for width in (largest, largest // 2):
        images = torch.lerp(images, color, specks(n, h, w, rng, width, cover)[0])
    return images


@precise
def rain(images: Tensor, rng: torch.Generator, *, largest: int = 8, cover: float = 0.5) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the same behind a pane with drops on it; see `specks`.

    A drop acts as a lens: it shows its surroundings rotated by 180 degrees, smaller and blurred.
    """
    n, _, h, w = images.shape
    opacity, right, down = specks(n, h, w, rng, largest, cover)
    x = torch.arange(w, device=images.device) + 0.5 - (1 + LENS) * right
    y = torch.arange(h, device=images.device)[:, None] + 0.5 - (1 + LENS) * down
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    places = torch.stack([2 * x / w - 1, 2 * y / h - 1], 3)
    return torch.lerp(images, F.grid_sample(blurred, places, padding_mode="reflection", align_corners=False), opacity)


def _cells(n: int, length: int, rng: torch.Generator, cell: int) -> tuple[Tensor, Tensor]:
    """The grid cell of each pixel of an axis, and the position of the pixel's centre in it, both [n, length]."""
    place = torch.arange(length, device=rng.device) + 0.5 + uniform(n, 0, cell, rng)[:, None]
    return (place // cell).long(), place % cell
