"""What lies between a scene and its photograph: dirt, and drops of rain, on a pane."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.precision import precise
from withhold.views.random import uniform

EARTH = (1.0, 0.85, 0.65)
"""Red, green and blue of dirt, for the lightest of them 1."""
LENS = 2.0
"""How many times as wide as a drop what it shows is."""


def specks(
    n: int, height: int, width: int, rng: torch.Generator, largest: int, cover: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Round specks at random places: what they cover, and how far each pixel is from the middle of the nearest one.

    Each lies in a cell of its own of a grid, which itself lies at random in every image.

    Args:
        largest: width of the cells, and of the largest speck, in pixels; the smallest is a third as wide.
        cover: share of the cells that have a speck at most; images have anything from none to that.

    Returns:
        opacity float [n, 1, height, width]: from 0, or inside of a speck from 1/2 to 1 as is drawn for each image, with
        an edge of a pixel; and pixels to the right, and down, float [n, height, width] both.
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

    It is grey to brown, and of one colour in an image. Half as large specks lie over the others.
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

    A drop is a lens: it shows what is around it upside down and the wrong way round, smaller and out of focus.
    """
    n, _, h, w = images.shape
    opacity, right, down = specks(n, h, w, rng, largest, cover)
    x = torch.arange(w, device=images.device) + 0.5 - (1 + LENS) * right
    y = torch.arange(h, device=images.device)[:, None] + 0.5 - (1 + LENS) * down
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    places = torch.stack([2 * x / w - 1, 2 * y / h - 1], 3)
    return torch.lerp(images, F.grid_sample(blurred, places, padding_mode="reflection", align_corners=False), opacity)


def _cells(n: int, length: int, rng: torch.Generator, cell: int) -> tuple[Tensor, Tensor]:
    """In which cell of a grid each pixel of an axis lies, and how far into it its middle is, both [n, length]."""
    place = torch.arange(length, device=rng.device) + 0.5 + uniform(n, 0, cell, rng)[:, None]
    return (place // cell).long(), place % cell
