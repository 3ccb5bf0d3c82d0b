"""Where a view's pixels come from: crops and resizes as one matrix an axis, anything else as a 2x3 matrix."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.precision import precise
from withhold.views.random import chance, uniform, where

CELLS = 4
"""Along each side of a plate that is bent."""


def flip(images: Tensor, rng: torch.Generator, probability: float = 0.5) -> Tensor:
    """Images [n, c, h, w] -> the same, each mirrored left to right with `probability`."""
    return where(chance(len(images), probability, rng), images.flip(3), images)


def shift(images: Tensor, rng: torch.Generator, share: float = 1 / 8) -> Tensor:
    """Images [n, c, h, w] -> each moved by whole pixels, up to `share` of its side, and continued as in a mirror."""
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

    The area (a share of the image's) and the logarithm of the aspect (width / height) are uniform. A box that does not
    fit is drawn again, ten times at most; then it is the largest centred one whose aspect is in range.
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
    """Places up to `size` - 1 beyond either end of an axis of `size` pixels -> those that a mirror shows there."""
    return (size - 1) - ((size - 1) - places.abs()).abs()


def axis_weights(start: Tensor, length: Tensor, pixels: int, size: int, places: Tensor) -> tuple[Tensor, Tensor]:
    """One axis of a crop, resized -> what `along` takes: weights [n, b, l, k] and first pixels [n, b].

    A triangle as wide as the larger of an input and an output pixel, cut off at the crop's edges: bilinear and
    antialiased, as in Pillow.

    Args:
        start, length: of the crop, in the image's pixels [n].
        pixels, size: of the image and of the view.
        places: which of the view's pixels, in blocks of neighbours, [b, l] or [n, b, l]. Those of a block come from a
            window of k of the image's pixels.
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
    """Images [n, g, pixels, m], weights [n, b, l, k] along their third axis -> float [n, g * m, b, l].

    The matrix of an axis is zero but for a band. Its blocks, of l rows each, are multiplied by windows of k pixels,
    which begin at `first` [n, b]: at 224 pixels a quarter of the work.
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
    """Images float [n, c, h, w] -> the same size, black where a view reaches outside of its image.

    Matrices [n, 2, 3] lead from places in the view to places in the image, in pixels from the centre (x, y). What is
    `moved` [n, h, w, 2] is added to these, in halves of the image's width and height.
    """
    h, w = images.shape[2:]
    half = matrices.new_ones(2, 1)
    half[0] *= w / 2
    half[1] *= h / 2
    scaled = torch.cat([matrices[:, :, :2] * half.T / half, matrices[:, :, 2:] / half], 2)
    grid = F.affine_grid(scaled, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid if moved is None else grid + moved, align_corners=False)


def thin_plate(moves: Tensor, height: int, width: int) -> Tensor:
    """How every pixel of a plate moves of which the cells of a grid are moved: [n, g, g, k] -> [n, height, width, k].

    The plate is bent as little as it can be (Bookstein, TPAMI 1989).
    """
    n, rows, columns, k = moves.shape

    def places(*lengths: int) -> Tensor:
        """The middles of cells, from -1 to 1 over the whole plate: [cells, 2]."""
        return torch.cartesian_prod(*((2 * torch.arange(m, device=moves.device) + 1) / m - 1 for m in lengths))

    def terms(points: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
        square = (points[:, None] - controls).square().sum(2)
        return torch.special.xlogy(square, square), F.pad(points, (1, 0), value=1.0)

    controls = places(rows, columns)
    bent, flat = terms(controls, controls)
    system = torch.cat([torch.cat([bent, flat], 1), F.pad(flat.T, (0, 3))])
    weights = torch.linalg.solve(system, F.pad(moves.flatten(1, 2), (0, 0, 0, 3)))
    return (torch.cat(terms(places(height, width), controls), 1) @ weights).view(n, height, width, k)


def inverse_affine(turn: Tensor, scale: Tensor, shear_x: Tensor, shear_y: Tensor, move: Tensor) -> Tensor:
    """Matrices [n, 2, 3] for `warp` of an image that is sheared, scaled, turned and then moved.

    Turns [n] are clockwise, in degrees; shears [n] in pixels along one axis per pixel along the other; moves [n, 2] in
    pixels to the right and down.
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
    """Images float [n, c, h, w] -> turned, moved, scaled, sheared and bent at random, in one resampling; black outside.

    `degrees`, `translate` (a share of the image's side) and `shear` (along x, in pixels per pixel) are the largest to
    either side, `scale` the smallest and largest factor. `bend` is how far the middles of 4 x 4 cells stray from there,
    as a deviation and a share of the image's side; between them a view is a thin plate.
    """
    n, _, h, w = images.shape
    turn, slant = uniform(n, -degrees, degrees, rng), uniform(n, -shear, shear, rng)
    move = torch.stack([uniform(n, -translate * side, translate * side, rng) for side in (w, h)], 1)
    matrices = inverse_affine(turn, uniform(n, *scale, rng), slant, torch.zeros_like(slant), move)
    moves = 2 * bend * torch.randn(n, CELLS, CELLS, 2, generator=rng, device=rng.device) if bend else None
    return warp(images, matrices, None if moves is None else thin_plate(moves, h, w))
