"""Images cut into tiles with gaps between them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.patches import unpatch


def tiles(images: Tensor, rng: torch.Generator, grid: int, size: int) -> Tensor:
    """Square tiles, each from a random place in its cell of a grid, so that edges do not continue from tile to tile.

    Args:
        images: [n, c, h, w].
        rng: on the images' device.
        grid: cells along each side.
        size: height and width of a tile in pixels; at most a cell's.

    Returns:
        [n, grid * grid, c, size, size], row by row.
    """
    n, _, h, w = images.shape
    cell = torch.arange(grid * grid, device=images.device)
    if size > min(h, w) // grid:
        raise ValueError(f"{grid} x {grid} tiles of {size} pixels do not fit an image of {w} x {h}: make them smaller.")

    def places(cells: Tensor, length: int) -> Tensor:
        start = torch.randint(length // grid - size + 1, (n, grid * grid), generator=rng, device=images.device)
        return (start + cells * (length // grid))[..., None] + torch.arange(size, device=images.device)

    rows, columns = places(cell // grid, h), places(cell % grid, w)
    sample = torch.arange(n, device=images.device)[:, None, None, None]
    return images[sample, :, rows[:, :, :, None], columns[:, :, None, :]].permute(0, 1, 4, 2, 3)


def board(tiles: Tensor, columns: int) -> Tensor:
    """Tiles float [n, l, c, s, s] -> images [n, c, h, w] that show them row by row, with white lines between them."""
    framed = F.pad(tiles, (1, 1, 1, 1), value=1.0).clamp(0, 1)
    side = framed.shape[-1]
    return unpatch(framed.flatten(2), tiles.shape[2], (tiles.shape[1] // columns * side, columns * side))
