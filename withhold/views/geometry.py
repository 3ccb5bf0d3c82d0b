"""Geometric transforms: crops and resizing as one matrix per axis, all others as a 2x3 matrix."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.caching import cached
from withhold.views.precision import precise
from withhold.views.random import chance, uniform, where

CELLS = 4
"""Cells along each side of the grid for elastic bending."""


def flip(images: Tensor, rng: torch.Generator, probability: float = 0.5) -> Tensor:
    """Images [n, c, h, w] -> the same, each flipped left to right with `probability`."""
    return where(chance(len(images), probability, rng), images.flip(3), images)


def shift(images: Tensor, rng: torch.Generator, share: float = 1 / 8) -> Tensor:
    """Images [n, c, h, w] -> each shifted by whole pixels, up to `share` of its side, with reflection padding."""
    n, _, h, w = images.shape

    def places(length: int) -> Tensor:
        most = round(share * length)
        move = torch.randint(-most, most + 1, (n, 1), generator=rng, device=rng.device)
        return reflect(torch.arange(length, device=rng.device) + move, length)

    rows, columns, sample = places(h), places(w), torch.arange(n, device=rng.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def draw_crops(
    n: int, height: int, width: int, area: tuple[float, float], aspect: tuple[float, float], rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes of torchvision's RandomResizedCrop, in whole pixels -> top, left, height, width, float [n] each.

    The area (a share of the image's) and the logarithm of the aspect (width / height) are uniform. The first of ten
    boxes that fits is used; if none fits, the largest centred box whose aspect is in range.
    """
    share = uniform(n * 10, *area, rng).view(n, 10) * (height * width)
    ratio = uniform(n * 10, math.log(aspect[0]), math.log(aspect[1]), rng).view(n, 10).exp()
    widths, heights = (share * ratio).sqrt().round(), (share / ratio).sqrt().round()
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first, found = fits.int().argmax(1, keepdim=True), fits.any(1)
    tall = heights.gather(1, first)[:, 0].where(found, min(height, round(width / aspect[0])))
    wide = widths.gather(1, first)[:, 0].where(found, min(width, round(height * aspect[1])))
    top = (uniform(n, 0, 1, rng) * (height - tall + 1)).floor().where(found, ((height - tall) / 2).floor())
    left = (uniform(n, 0, 1, rng) * (width - wide + 1)).floor().where(found, ((width - wide) / 2).floor())
    return top, left, tall, wide


def reflect(places: Tensor, size: int) -> Tensor:
    """Indices up to `size` - 1 beyond either end of an axis of `size` pixels -> the indices that they reflect to."""
    return (size - 1) - ((size - 1) - places.abs()).abs()


def axis_weights(start: Tensor, length: Tensor, pixels: int, size: int, places: Tensor) -> tuple[Tensor, Tensor]:
    """Resampling weights along one axis of a crop, for `along`: weights [n, b, l, k] and first pixels [n, b].

    The filter is a triangle scaled to the larger of an input and an output pixel and cut off at the edges of the crop:
    bilinear and antialiased, as in Pillow.

    Args:
        start, length: of the crop, in pixels of the image [n].
        pixels, size: length of the axis in the image and in the view.
        places: pixels of the view, in blocks of neighbours, [b, l] or [n, b, l]. Each block is computed from a window
            of k pixels of the image.
    """
    start, length = start[:, None, None], length[:, None, None]
    step = length / size
    centers = start + step * (places + 0.5)
    reach = step.clamp(min=1)
    taps = math.ceil(2 * max(1, pixels / size))
    index = (centers - reach + 0.5).floor()[..., None] + torch.arange(taps, device=start.device)
    weights = (1 - (index + 0.5 - centers[..., None]).abs() / reach[..., None]).clamp_(min=0)
    weights = weights * ((index >= start[..., None]) & (index < (start + length)[..., None]))
    weights = weights / weights.sum(3, keepdim=True)
    window = min(pixels, math.floor((places.shape[-1] - 1) * pixels / size) + 1 + taps)
    first = index.amin((2, 3)).long().clamp_(0, pixels - window)
    inside = (index.long() - first[:, :, None, None]).clamp_(0, window - 1)
    return torch.zeros(*centers.shape, window, device=start.device).scatter_add_(3, inside, weights), first


def along(images: Tensor, weights: Tensor, first: Tensor) -> Tensor:
    """Apply weights [n, b, l, k] along the third axis of images [n, g, pixels, m] -> float [n, g * m, b, l].

    The matrix of an axis is banded. Each block of l rows is multiplied only by its window of k pixels, which begins at
    `first` [n, b]: at 224 pixels, a quarter of the work.
    """
    n, g, pixels, m = images.shape
    window = weights.shape[3]
    if window == pixels:
        seen = images.transpose(1, 2)
    else:
        begin = torch.arange(0, n * g * pixels, pixels, device=images.device).view(n, 1, 1, g)
        inside = torch.arange(window, device=images.device)[:, None]
        seen = images.reshape(-1, m).index_select(0, (begin + first[:, :, None, None] + inside).flatten())
    return (seen.reshape(n, -1, window, g * m).float().mT @ weights.mT).transpose(1, 2)


def warp(images: Tensor, matrices: Tensor, moved: Tensor | None = None) -> Tensor:
    """Images float [n, c, h, w] -> warped images of the same size, black outside the image.

    Matrices [n, 2, 3] map positions in the view to positions in the image, in pixels from the centre (x, y). `moved`
    [n, h, w, 2] is added to the result, in units of half the width and half the height of the image.
    """
    h, w = images.shape[2:]
    half = matrices.new_ones(2, 1)
    half[0] *= w / 2
    half[1] *= h / 2
    x, y = (torch.arange(side, device=images.device)[:, None] + (0.5 - side / 2) for side in (w, h))
    along_x, along_y, offset = (matrices / half)[:, None, None].unbind(4)
    # Not `affine_grid`: on a CPU its matrix product, with only two columns, takes many times as long as this sum.
    grid = along_x * x + (along_y * y[:, None] + offset)
    return F.grid_sample(images, grid if moved is None else grid + moved, align_corners=False)


def thin_plate(moves: Tensor, height: int, width: int) -> Tensor:
    """Thin-plate spline: displacements of grid cells [n, g, g, k] -> of all pixels [n, height, width, k].

    The spline interpolates them with the least bending (Bookstein, TPAMI 1989).
    """
    n, rows, columns, k = moves.shape
    spline = spline_weights(rows, columns, height, width, moves.device)
    return (spline @ moves.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)).view(height, width, n, k).permute(2, 0, 1, 3)


@cached
def spline_weights(rows: int, columns: int, height: int, width: int, device: torch.device) -> Tensor:
    """The weight of each control cell's displacement in that of each pixel: [height * width, rows * columns]."""

    def places(*lengths: int) -> Tensor:
        """The centres of cells, from -1 to 1 over the whole image: [cells, 2]."""
        return torch.cartesian_prod(*((2 * torch.arange(m, device=device) + 1) / m - 1 for m in lengths))

    def terms(points: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
        square = (points[:, None] - controls).square().sum(2)
        return torch.special.xlogy(square, square), F.pad(points, (1, 0), value=1.0)

    controls = places(rows, columns)
    bent, flat = terms(controls, controls)
    system = torch.cat([torch.cat([bent, flat], 1), F.pad(flat.T, (0, 3))])
    pixels = torch.cat(terms(places(height, width), controls), 1)
    return torch.linalg.solve(system, pixels, left=False)[:, : rows * columns].contiguous()


def inverse_affine(turn: Tensor, scale: Tensor, shear_x: Tensor, shear_y: Tensor, move: Tensor) -> Tensor:
    """Matrices [n, 2, 3] for `warp` that shear, scale, rotate and then translate an image.

    Rotations `turn` [n] are clockwise, in degrees; shears [n] are in pixels along one axis per pixel along the other;
    translations `move` [n, 2] are in pixels to the right and down.
    """
    angle = turn * (math.pi / 180)
    cos, sin, one = angle.cos(), angle.sin(), torch.ones_like(angle)
    turned = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    sheared = torch.stack([one, shear_x, shear_y, one], 1).view(-1, 2, 2)
    forward = turned @ (scale[:, None, None] * sheared)
    a, b, c, d = forward.flatten(1).unbind(1)
    backward = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    return torch.cat([backward, -backward @ move[:, :, None]], 2)


@precise
def affine(
    images: Tensor,
    rng: torch.Generator,
    *,
    degrees: float = 0.0,
    translate: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
    shear: float = 0.0,
    bend: float = 0.0,
) -> Tensor:
    """Images float [n, c, h, w] -> randomly rotated, translated, scaled, sheared and bent images, in one resampling.

    The view is black outside the image. `degrees`, `translate` (a share of the image's side) and `shear` (along x, in
    pixels per pixel) are the largest values in either direction; `scale` is the smallest and largest factor. `bend` is
    the standard deviation of the displacement of the centres of 4 x 4 cells, as a share of the image's side; a
    thin-plate spline interpolates between them.
    """
    n, _, h, w = images.shape
    turn, slant = uniform(n, -degrees, degrees, rng), uniform(n, -shear, shear, rng)
    move = torch.stack([uniform(n, -translate * side, translate * side, rng) for side in (w, h)], 1)
    matrices = inverse_affine(turn, uniform(n, *scale, rng), slant, torch.zeros_like(slant), move)
    moves = 2 * bend * torch.randn(n, CELLS, CELLS, 2, generator=rng, device=rng.device) if bend else None
    return warp(images, matrices, None if moves is None else thin_plate(moves, h, w))
