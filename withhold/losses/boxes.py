"""Losses for object detection: focal loss on heat maps of object centres, and the overlap of boxes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


@float32
def focal(scores: Tensor, heat: Tensor, known: Tensor) -> Tensor:
    """The focal loss summed over the cells of maps [n, k, h, w] and divided by the number of centres (at least 1).

    Zhou, Wang & Krahenbuhl, 2019, equation 1, with exponents 2 and 4. Cells with `heat` 1 are centres of an object of
    their class. All other cells are negatives, with a weight that falls to 0 as `heat` rises to 1.

    Args:
        known: false for cells that are ignored unless they are centres.
    """
    share, middle = scores.sigmoid(), heat == 1
    found = (1 - share).square() * F.logsigmoid(scores)
    quiet = (1 - heat).pow(4) * share.square() * F.logsigmoid(-scores) * known
    return -torch.where(middle, found, quiet).sum() / middle.sum().clamp(min=1)


@float32
def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (left, top, right, bottom) [..., 4], which broadcast."""
    shared, either, _ = _areas(first, second)
    return shared / either.clamp(min=1e-9)


@float32
def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """The IoU minus the share of the smallest enclosing box that neither box covers, in (-1, 1].

    Rezatofighi et al., CVPR 2019, algorithm 1; boxes as in `iou`.
    """
    shared, either, around = _areas(first, second)
    return shared / either.clamp(min=1e-9) - (around - either) / around.clamp(min=1e-9)


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The areas of the intersection, of the union, and of the smallest enclosing box."""

    def area(start: Tensor, end: Tensor) -> Tensor:
        return (end - start).clamp(min=0).prod(-1)

    (begin, end), (start, stop) = first.split(2, -1), second.split(2, -1)
    shared = area(torch.maximum(begin, start), torch.minimum(end, stop))
    either = area(begin, end) + area(start, stop) - shared
    return shared, either, area(torch.minimum(begin, start), torch.maximum(end, stop))
