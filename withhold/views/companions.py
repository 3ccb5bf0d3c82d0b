"""Masks, boxes and points under the crops and flips of the images that they belong to.

For n images, `crops` holds top, left, height and width in whole pixels; `size` is the height and width of the views.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from withhold.needs import DIFFICULT, VISIBLE
from withhold.views.random import where


def follow_masks(masks: Tensor, crops: Sequence[Tensor], mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels [n, ..., h, w] -> [n, ..., *size]: each pixel takes the label of the image pixel under its centre."""
    top, left, tall, wide = (number.long().view(-1, *[1] * (masks.ndim - 1)) for number in crops)
    down, right = (2 * torch.arange(length, device=masks.device) + 1 for length in size)
    rows = top + down[:, None] * tall // (2 * size[0])  # in integers: floats could round across a pixel border
    columns = left + right * wide // (2 * size[1])
    seen = masks.take_along_dim(rows, -2).take_along_dim(columns, -1)
    return where(mirrored, seen.flip(-1), seen)


def follow_boxes(boxes: Tensor, crops: Sequence[Tensor], mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [n, ..., 4 or more] -> clipped to the view; NaN where it shows less than `VISIBLE` of the box's area.

    Boxes of six numbers, of which the last says why a box is ignored (0: it is not), are kept while any part of them
    is visible. If less than `VISIBLE` remains of one that was not ignored, it is marked as difficult.
    """
    top, left, tall, wide = (number.view(-1, *[1] * (boxes.ndim - 1)) for number in crops)
    corners = boxes[..., :4].unflatten(-1, (2, 2))
    shown = corners.clamp(torch.stack([left, top], -1), torch.stack([left + wide, top + tall], -1))
    share = (shown.diff(dim=-2).prod(-1) / corners.diff(dim=-2).prod(-1))[..., 0]
    moved = follow_points(shown, crops, mirrored, size)
    ordered = torch.cat([moved.amin(-2), moved.amax(-2), boxes[..., 4:]], -1)  # a flip swaps left and right
    kept = share >= VISIBLE
    if boxes.shape[-1] == 6:
        ignored = ordered[..., 5]
        ignored.masked_fill_(~kept & (ignored == 0), DIFFICULT)
        kept = share > 0
    return ordered.where(kept[..., None], torch.nan)


def follow_points(points: Tensor, crops: Sequence[Tensor], mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    """Points [n, ..., 2] -> their places in the view; NaN outside it."""
    top, left, tall, wide = (number.view(-1, *[1] * (points.ndim - 2)) for number in crops)
    x, y = (points[..., 0] - left) * size[1] / wide, (points[..., 1] - top) * size[0] / tall
    inside = (x >= 0) & (x <= size[1]) & (y >= 0) & (y <= size[0])
    return torch.stack([where(mirrored, size[1] - x, x), y], -1).where(inside[..., None], torch.nan)
