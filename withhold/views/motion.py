"""Motion in clips: frame differences and optical flow."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.color import to_float
from withhold.views.precision import precise

NEAR = 5
"""Side, in pixels, of the square whose points are assumed to move together."""
FLAT = 1e-3
"""Added to squared slopes, so that points in flat regions, where noise dominates, are estimated not to move."""
COARSE = 8
"""Smallest side, in pixels, of the frames of the pyramid."""
STEPS = 3
"""Corrections of the flow at each level of the pyramid."""
FARTHEST = 0.5
"""Largest correction in pixels, right or down: slopes are valid only nearby, and without a limit the flow diverges."""


def motion(clips: Tensor) -> Tensor:
    """Clips uint8 [n, t, c, h, w], or float in [0, 1] -> mean absolute difference of adjacent frames [n, t - 1].

    The differences are on the scale of [0, 1], for uint8 as well.
    """
    return to_float(clips).diff(dim=1).abs().mean((2, 3, 4))


@precise
def flow(clips: Tensor) -> Tensor:
    """Clips uint8 [n, t, c, h, w], or float in [0, 1] -> optical flow [n, t - 1, 2, h, w], in pixels right and down.

    The displacement of each point from a frame to the next: the least-squares fit of the change in a small square
    around it (Lucas & Kanade, IJCAI 1981), refined over a pyramid of frames that starts at 8 pixels or more and doubles
    in size. It finds displacements of up to a tenth of the frame, and of more than a quarter if repeated halving of the
    frame gives exactly 8 pixels.
    """
    grey = to_float(clips).mean(2, keepdim=True)
    pyramid = [(grey[:, :-1].flatten(0, 1), grey[:, 1:].flatten(0, 1))]
    while min(pyramid[-1][0].shape[2:]) >= 2 * COARSE:
        first, second = pyramid[-1]
        pyramid.append((F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)))
    coarsest = pyramid[-1][0]
    moved = torch.zeros_like(coarsest).expand(-1, 2, -1, -1)
    for first, second in reversed(pyramid):
        if first is not coarsest:
            moved = 2 * F.interpolate(moved, first.shape[2:], mode="bilinear")
        down, right = _slopes(first)
        xx, xy, yy = _near(right**2) + FLAT, _near(right * down), _near(down**2) + FLAT
        for _ in range(STEPS):
            change = _fetch(second, moved) - first
            x, y = _near(right * change), _near(down * change)
            correction = torch.cat((xy * y - yy * x, xy * x - xx * y), 1) / (xx * yy - xy**2)
            moved = moved + correction.clamp(-FARTHEST, FARTHEST)
    return moved.unflatten(0, (len(clips), -1))


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of images [n, c, h, w], down and right, per pixel; zero at the border, where a neighbour is missing."""
    down = images[:, :, 2:, 1:-1] - images[:, :, :-2, 1:-1]
    right = images[:, :, 1:-1, 2:] - images[:, :, 1:-1, :-2]
    return F.pad(down / 2, (1, 1, 1, 1)), F.pad(right / 2, (1, 1, 1, 1))


def _near(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, NEAR, 1, NEAR // 2, count_include_pad=False)


def _fetch(images: Tensor, moved: Tensor) -> Tensor:
    """Images [n, c, h, w] sampled at displacements [n, 2, h, w] in pixels, with replicated edges."""
    h, w = images.shape[2:]
    rows, columns = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    x = (moved[:, 0] + columns + 0.5) * 2 / w - 1
    y = (moved[:, 1] + rows[:, None] + 0.5) * 2 / h - 1
    return F.grid_sample(images, torch.stack((x, y), 3), padding_mode="border", align_corners=False)
