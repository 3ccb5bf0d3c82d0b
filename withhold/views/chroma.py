"""Colour without lightness: the ab plane of CIE Lab, at a lower resolution than the image, and in bins."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.caching import cached
from withhold.views.color import lab_to_rgb, rgb_to_lab, to_float

STEP = 10
"""Side of a bin of the ab plane."""
NEIGHBOURS = 5
SIGMA = 5.0
"""Standard deviation of the Gaussian that weights the nearest bins of a colour."""


@cached
def ab_palette() -> Tensor:
    """The ab of the bins that contain a colour of sRGB [bins, 2]; the faces of the RGB cube reach all of them."""
    level = torch.linspace(0, 1, 256)
    faces = torch.stack([*torch.meshgrid(torch.tensor([0.0, 1.0]), level, level, indexing="ij")])
    cube = torch.stack([faces.roll(turn, 0) for turn in range(3)]).flatten(2)
    place = (rgb_to_lab(cube[..., None])[:, 1:] / STEP).round().long() + 12
    reached = torch.zeros(25, 25, dtype=torch.bool)
    reached[place[:, 0], place[:, 1]] = True
    return (reached.nonzero() - 12) * float(STEP)


@cached
def _nearby(device: torch.device) -> tuple[Tensor, Tensor]:
    """For each cell of the ab plane, the bins that may be the nearest ones [625, k] and their places [625, 2, k].

    A colour of sRGB is at most half a diagonal from the centre of its cell, so none of its nearest bins is farther from
    the centre than the centre's own nearest bins by more than a diagonal.
    """
    palette = ab_palette()
    centers = STEP * (torch.cartesian_prod(torch.arange(25.0), torch.arange(25.0)) - 12)
    distance, bins = torch.cdist(centers, palette).sort(1)
    reach = distance[:, NEIGHBOURS - 1, None] + STEP * math.sqrt(2)
    bins = bins[:, : int((distance <= reach).sum(1).max())]
    return bins.to(device), palette[bins].mT.contiguous().to(device)


def to_bins(ab: Tensor) -> tuple[Tensor, Tensor]:
    """Colours of sRGB [n, 2, h, w] -> the five nearest bins, nearest first, and their weights, both [n, 5, h, w].

    Source: the soft encoding of Zhang, Isola & Efros, ECCV 2016, section 2.1.
    """
    nearby, places = _nearby(ab.device)
    row, column = (ab / STEP).round().long().add_(12).clamp_(0, 24).unbind(1)
    cell = (25 * row + column).flatten()
    distance = (ab.movedim(1, -1).reshape(-1, 2, 1) - places[cell]).square().sum(1)
    distance, nearest = distance.topk(NEIGHBOURS, largest=False)
    bins = nearby[cell].gather(1, nearest)
    shares = (distance / (-2 * SIGMA**2)).softmax(1)
    shape = (len(ab), *ab.shape[2:], NEIGHBOURS)
    return bins.view(shape).movedim(-1, 1), shares.view(shape).movedim(-1, 1)


def split_color(images: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Colour images uint8 or float [n, 3, h, w] -> lightness / 100 [n, 1, h, w], ab [n, 2, h / stride, w / stride].

    The ab of a cell are those of the pixel nearest to its centre, where `paint` places the colour if the stride divides
    the sides.
    """
    lab = rgb_to_lab(to_float(images))
    rows, columns = (
        torch.arange(stride // 2, side + stride // 2, stride, device=lab.device).clamp(max=side - 1)
        for side in lab.shape[2:]
    )
    return lab[:, :1] / 100, lab[:, 1:, rows[:, None], columns]


def paint(lightness: Tensor, ab: Tensor) -> Tensor:
    """Lightness / 100 [n, 1, h, w] and low-resolution ab [n, 2, h', w'] -> sRGB images [n, 3, h, w] in [0, 1]."""
    fine = F.interpolate(ab, lightness.shape[2:], mode="bilinear")
    return lab_to_rgb(torch.cat([100 * lightness, fine], 1)).clamp(0, 1)
