"""Images cut into squares, such as tiles with gaps between them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.patches import unpatch


def tiles(images: Tensor, rng: torch.Generator, grid: int, size: int) -> Tensor:
    """Images [n, c, h, w] -> square tiles [n, grid * grid, c, size, size], row by row; at most as large as a cell.

    Each is from a random place in its cell of the grid, so that edges do not continue from tile to tile.
    """
    n, _, h, w = images.shape
    cell = torch.arange(grid * grid, device=images.device)
    if size > min(h, w) // grid:
        raise ValueError(f"{grid} x {grid} tiles of {size} pixels do not fit an image of {w} x {h}: make them smaller.")

    def start(cells: Tensor, length: int) -> Tensor:
        inside = torch.randint(length // grid - size + 1, (n, grid * grid), generator=rng, device=images.device)
        return inside + cells * (length // grid)

    return windows(images, torch.stack([start(cell // grid, h), start(cell % grid, w)], 2), size)


def windows(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Images [n, c, h, w], rows and columns of upper left corners [n, l, 2] -> squares there [n, l, c, size, size]."""
    places = corners[..., None] + torch.arange(size, device=images.device)
    sample = torch.arange(len(images), device=images.device)[:, None, None, None]
    return images[sample, :, places[:, :, 0, :, None], places[:, :, 1, None, :]].permute(0, 1, 4, 2, 3)


def board(tiles: Tensor, columns: int) -> Tensor:
    """Tiles float [n, l, c, s, s] -> images [n, c, h, w] that show them row by row, with white lines between them."""
    framed = F.pad(tiles, (1, 1, 1, 1), value=1.0).clamp(0, 1)
    side = framed.shape[-1]
    return unpatch(framed.flatten(2), tiles.shape[2], (tiles.shape[1] // columns * side, columns * side))
