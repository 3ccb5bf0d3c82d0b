"""Random masks; true means withheld."""

import torch
from torch import Tensor

from withhold.views.geometry import draw_crops


def random_mask(n: int, tokens: int, ratio: float, rng: torch.Generator) -> Tensor:
    """bool [n, tokens] with exactly round(tokens * ratio) true in every row, at random places."""
    order = torch.rand(n, tokens, generator=rng, device=rng.device).argsort(1)
    return order < round(tokens * ratio)


def block_mask(
    n: int,
    height: int,
    width: int,
    rng: torch.Generator,
    *,
    area: tuple[float, float] = (0.25, 0.25),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    blocks: int = 1,
) -> Tensor:
    """bool [n, 1, height, width], true in `blocks` rectangles at random places, which may overlap.

    `area` (a share of the image's) and `aspect` (width / height) give the smallest and largest for a rectangle.
    """
    boxes = draw_crops(n * blocks, height, width, area, aspect, rng)
    top, left, tall, wide = (box.view(n, blocks, 1) for box in boxes)
    row, column = (torch.arange(length, device=rng.device) for length in (height, width))
    rows, columns = (row >= top) & (row < top + tall), (column >= left) & (column < left + wide)
    return (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True)
