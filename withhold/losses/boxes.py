"""What a detector learns from: how far heat is from the middles of things, and boxes from boxes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


@float32
def focal(scores: Tensor, heat: Tensor, known: Tensor) -> Tensor:
    """The sum of the focal losses of cells, each [n, k, h, w], divided by the number of middles (at least 1).

    Zhou, Wang & Krahenbuhl, 2019, equation 1, with exponents 2 and 4: a cell is the middle of a thing of its class
    where `heat` is 1; elsewhere what is said there counts the less, the nearer to one `heat` is.

    Args:
        known: where nothing but a middle is to be learned it is false.
    """
    share, middle = scores.sigmoid(), heat == 1
    found = (1 - share).square() * F.logsigmoid(scores)
    quiet = (1 - heat).pow(4) * share.square() * F.logsigmoid(-scores) * known
    return -torch.where(middle, found, quiet).sum() / middle.sum().clamp(min=1)


@float32
def iou(first: Tensor, second: Tensor) -> Tensor:
    """Of boxes (left, top, right, bottom) [..., 4], which broadcast: the area of both together in that of either."""
    shared, either, _ = _areas(first, second)
    return shared / either.clamp(min=1e-9)


@float32
def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """The IoU less the share of the smallest box around both that is in neither, in (-1, 1].

    Rezatofighi et al., CVPR 2019, algorithm 1; boxes are those of `iou`.
    """
    shared, either, around = _areas(first, second)
    return shared / either.clamp(min=1e-9) - (around - either) / around.clamp(min=1e-9)


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The areas of what two boxes share, of what lies in either, and of the smallest box around both."""

    def area(start: Tensor, end: Tensor) -> Tensor:
        return (end - start).clamp(min=0).prod(-1)

    (begin, end), (start, stop) = first.split(2, -1), second.split(2, -1)
    shared = area(torch.maximum(begin, start), torch.minimum(end, stop))
    either = area(begin, end) + area(start, stop) - shared
    return shared, either, area(torch.minimum(begin, start), torch.maximum(end, stop))
