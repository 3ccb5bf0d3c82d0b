"""What moves in a clip, and where to."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.color import to_float
from withhold.views.precision import precise

NEAR = 5
"""Pixels of the square whose points move alike."""
FLAT = 1e-3
"""Slopes (squared) that say no more of where a point went than noise does: such a point is taken to stay."""
COARSE = 8
"""Pixels of the smallest frames in which moves are looked for."""
STEPS = 3
"""How often the moves are corrected in frames of one size."""
FARTHEST = 0.5
"""Pixels, right or down, that a correction goes at most: slopes tell no more, and what cannot be found flies away."""


def motion(clips: Tensor) -> Tensor:
    """Clips uint8 [n, t, c, h, w], or float in [0, 1] -> the mean absolute difference of following frames [n, t - 1].

    Bytes are on the scale of [0, 1] too.
    """
    return to_float(clips).diff(dim=1).abs().mean((2, 3, 4))


@precise
def flow(clips: Tensor) -> Tensor:
    """Clips uint8 [n, t, c, h, w], or float in [0, 1] -> optical flow [n, t - 1, 2, h, w], in pixels right and down.

    Where each point of a frame is in the next one: from frames of 8 pixels on, each twice as fine as the last, the move
    that explains best, by least squares, how a small square around the point changed (Lucas & Kanade, IJCAI 1981).
    Found are moves of a tenth of a frame at least, and of more than a quarter where it halves to 8 pixels.
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
    """Of images [n, c, h, w], down and right, a pixel; none at the rim, where one of the sides is not known."""
    down = images[:, :, 2:, 1:-1] - images[:, :, :-2, 1:-1]
    right = images[:, :, 1:-1, 2:] - images[:, :, 1:-1, :-2]
    return F.pad(down / 2, (1, 1, 1, 1)), F.pad(right / 2, (1, 1, 1, 1))


def _near(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, NEAR, 1, NEAR // 2, count_include_pad=False)


def _fetch(images: Tensor, moved: Tensor) -> Tensor:
    """Images [n, c, h, w] as seen where each point has moved to, in pixels [n, 2, h, w]; the edge goes on outside."""
    h, w = images.shape[2:]
    rows, columns = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    x = (moved[:, 0] + columns + 0.5) * 2 / w - 1
    y = (moved[:, 1] + rows[:, None] + 0.5) * 2 / h - 1
    return F.grid_sample(images, torch.stack((x, y), 3), padding_mode="border", align_corners=False)
