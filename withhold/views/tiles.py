"""Grids of patches, and tiles with gaps between them."""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.caching import cached

SIDES = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
"""Offsets (rows down, columns right) from a cell to each of its neighbours, in reading order."""


def patches(images: Tensor, size: int) -> Tensor:
    """Images [n, c, h, w] -> patches [n, l, c * size * size], row by row; h and w are multiples of `size`."""
    n, c, h, w = images.shape
    cells = images.reshape(n, c, h // size, size, w // size, size)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c * size * size)


def unpatch(patches: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Patches [n, l, c * p * p] -> images [n, channels, *size]: the inverse of `patches`."""
    h, w = size
    side = round((patches.shape[2] / channels) ** 0.5)
    cells = patches.reshape(len(patches), h // side, w // side, channels, side, side)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, h, w)


def standardize(images: Tensor) -> Tensor:
    """Images float [n, c, h, w] -> the same, each with mean 0.5 and standard deviation 0.25 over all of its values.

    Encoders normalise with these values, so their input has mean 0 and deviation 1. Constant images become 0.5.
    """
    axes = tuple(range(1, images.ndim))
    mean = images.mean(axes, keepdim=True)
    deviation = images.std(axes, keepdim=True, correction=0)
    return (images - mean) / deviation.clamp(min=1e-3) * 0.25 + 0.5


def tiling(size: int, grid: int | None) -> tuple[int, int]:
    """Tiles along each side of images of `size` pixels, and pixels along each side of a tile: four fifths of a cell.

    By default the grid is 2 below 64 pixels, else 3: with smaller tiles, a network would see mostly padding.
    """
    grid = grid or (2 if size < 64 else 3)
    if size < 8 * grid:
        raise ValueError(
            f"An encoder of {size} pixels is too small for {grid} x {grid} tiles. Give --size {8 * grid} or more."
        )
    return grid, size // grid * 4 // 5


def tiles(images: Tensor, rng: torch.Generator, grid: int, size: int) -> Tensor:
    """Images [n, c, h, w] -> square tiles [n, grid * grid, c, size, size], row by row, no larger than a cell.

    Each tile is at a random position in its cell of the grid, so that edges do not continue from tile to tile.
    """
    n, _, h, w = images.shape
    cell = torch.arange(grid * grid, device=images.device)
    if size > min(h, w) // grid:
        raise ValueError(f"{grid} x {grid} tiles of {size} pixels do not fit an image of {w} x {h}. Use smaller tiles.")

    def start(cells: Tensor, length: int) -> Tensor:
        inside = torch.randint(length // grid - size + 1, (n, grid * grid), generator=rng, device=images.device)
        return inside + cells * (length // grid)

    return windows(images, torch.stack([start(cell // grid, h), start(cell % grid, w)], 2), size)


@cached
def distant_orders(length: int, count: int) -> Tensor:
    """int64 [count, length]: permutations that differ from each other in many places, or all, if there are no more.

    A greedy choice that starts with the identity: the next permutation has the largest Hamming distance to its nearest
    chosen one and, among equals, the largest total distance to all chosen ones (algorithm 1 of Noroozi & Favaro, ECCV
    2016, uses the mean distance alone).
    """
    every = torch.tensor(list(itertools.permutations(range(length))), dtype=torch.int8).T.contiguous()
    if every.shape[1] <= count:
        return every.T.long()
    chosen = [0]
    nearest = torch.full((every.shape[1],), length, dtype=torch.int8)
    total = torch.zeros(every.shape[1], dtype=torch.int32)
    while len(chosen) < count:
        distance = (every != every[:, chosen[-1], None]).sum(0, dtype=torch.int8)
        nearest, total = torch.minimum(nearest, distance), total + distance
        chosen.append(int((nearest.int() * length * count + total).argmax()))
    return every.T[chosen].long()


def neighbours(grid: int) -> Tensor:
    """Every ordered pair of neighbours in a grid, int64 [pairs, 3]: first cell, second cell, side (of `SIDES`)."""
    inside = range(grid)
    return torch.tensor(
        [
            (row * grid + column, (row + down) * grid + column + right, side)
            for row in inside
            for column in inside
            for side, (down, right) in enumerate(SIDES)
            if row + down in inside and column + right in inside
        ]
    )


def windows(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Images [n, c, h, w], (row, column) of upper left corners [n, l, 2] -> squares [n, l, c, size, size]."""
    places = corners[..., None] + torch.arange(size, device=images.device)
    sample = torch.arange(len(images), device=images.device)[:, None, None, None]
    return images[sample, :, places[:, :, 0, :, None], places[:, :, 1, None, :]].permute(0, 1, 4, 2, 3)


def board(tiles: Tensor, columns: int) -> Tensor:
    """Tiles float [n, l, c, s, s] -> images [n, c, h, w] with the tiles row by row and white lines between them."""
    framed = F.pad(tiles, (1, 1, 1, 1), value=1.0).clamp(0, 1)
    side = framed.shape[-1]
    return unpatch(framed.flatten(2), tiles.shape[2], (tiles.shape[1] // columns * side, columns * side))
