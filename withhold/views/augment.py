"""The augmentations that most methods use, fused: one resampling and one colour matrix product per batch."""

import math
from typing import Any

import torch
from torch import Tensor

from withhold.errors import UsageError
from withhold.views.color import Jitter, color_matrices, draw_jitter, luma
from withhold.views.companions import follow_boxes, follow_masks, follow_points
from withhold.views.filters import blur_weights
from withhold.views.filters import solarize as invert
from withhold.views.geometry import along, axis_weights, draw_crops, reflect
from withhold.views.precision import precise
from withhold.views.random import chance, uniform, where

SIGMA = (0.1, 2.0)
"""Range of the standard deviation of the blur, in pixels (SimCLR)."""

BLOCK = 32
"""Each window of the image gives this many pixels along an axis of the view, or up to twice as many."""

CACHED = 240_000
"""Values of a batch that a CPU core processes at once, so that intermediate results stay in its cache."""


@precise
def augment(
    images: Tensor,
    rng: torch.Generator,
    *,
    size: int | None = None,
    crop: tuple[float, float] | None = None,
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.5,
    jitter: Jitter | None = None,
    jitter_probability: float = 0.8,
    grey: float = 0.0,
    blur: float = 0.0,
    solarize: float = 0.0,
    masks: Tensor | None = None,
    boxes: Tensor | None = None,
    points: Tensor | None = None,
) -> Any:
    """Random views of images or clips. Every sample has its own random numbers; the frames of a clip share theirs.

    The distribution is that of torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter, RandomGrayscale,
    GaussianBlur and RandomSolarize in sequence, except that hue is rotated in YIQ, not in HSV, and that values are
    clamped once, not after every step.

    Args:
        images: uint8 [n, c, h, w], or clips [n, t, c, h, w], or float in [0, 1]; c is 1 or 3. To augment frames
            independently, pass them as images: `clips.flatten(0, 1)`.
        size: height and width of the views in pixels; by default those of the images.
        crop: smallest and largest area of the crop, as a share of the image's; by default the whole image.
        aspect: smallest and largest width / height of the crop.
        flip: probability of a horizontal flip.
        jitter: largest change of brightness, contrast, saturation and hue (in turns).
        jitter_probability: probability of colour jitter.
        grey: probability of a greyscale view.
        blur: probability of a Gaussian blur of 0.1 to 2 pixels, cut off at a twentieth of the size.
        solarize: probability that values of one half and above are inverted.
        masks: integer labels [n, h, w], for clips [n, t, h, w], resampled to the nearest pixel. They must have the
            height and width of the images (`UsageError`).
        boxes: (left, top, right, bottom) in pixels, float [n, m, 4]; missing ones are NaN. They are clipped to the
            view, and become NaN if less than a quarter of their area remains. Further columns are kept unchanged; for
            two columns, of which the second marks ignored boxes, see `follow_boxes`.
        points: (x, y) in pixels, float [n, m, 2]; the centre of the first pixel is (0.5, 0.5). Points outside the view
            become NaN.

    Returns:
        float32 [n, c, size, size] in [0, 1], channels last; for clips [n, t, c, size, size]. With masks, boxes or
        points, a tuple: the views, then those that were given, in this order, in pixels of the views.
    """
    n, frames = len(images), images.shape[1] if images.ndim == 5 else 1
    c, h, w = images.shape[-3:]
    height, width = (size, size) if size else (h, w)
    if masks is not None and masks.shape[-2:] != (h, w):
        raise UsageError(f"Masks have {tuple(masks.shape[-2:])} pixels, images {(h, w)}. Use the same size for both.")
    whole = [torch.full((n,), float(number), device=images.device) for number in (0, 0, h, w)]
    crops = draw_crops(n, h, w, crop, aspect, rng) if crop else whole
    mirrored = chance(n, flip, rng)
    brightness, contrast, saturation, hue = draw_jitter(n, jitter or (0, 0, 0, 0), jitter_probability, rng)
    matrices = color_matrices(brightness, saturation.where(~chance(n, grey, rng), 0), hue, c)
    sigma = uniform(n, *SIGMA, rng).where(chance(n, blur, rng), 0)

    followers = ((follow_masks, masks), (follow_boxes, boxes), (follow_points, points))
    followed = [follow(given, crops, mirrored, (height, width)) for follow, given in followers if given is not None]

    top, left, tall, wide = (number.repeat_interleave(frames) for number in crops)
    mirrored, matrices, contrast, sigma = (
        drawn.repeat_interleave(frames, 0) for drawn in (mirrored, matrices, contrast, sigma)
    )
    pictures = images.reshape(n * frames, c, h, w)

    views = torch.empty(n * frames, height, width, c, device=images.device).permute(0, 3, 1, 2)
    cached = CACHED * torch.get_num_threads() // (c * frames * max(h * w, height * width))
    step = max(1, cached) * frames if images.device.type == "cpu" else max(1, n) * frames
    still = not crop and not blur and (height, width) == (h, w)
    if not still:
        rows = _axis(top, tall, h, height, sigma if blur else None)
        columns = _axis(left, wide, w, width, sigma if blur else None, mirrored)
    for start in range(0, n * frames, step):
        part = slice(start, start + step)
        colors = matrices[part] if jitter or grey else None
        if still:
            view = _keep(pictures[part], mirrored[part], colors)
        else:
            across, down = ((weights[part], first[part]) for weights, first in (columns, rows))
            view = _resample(pictures[part], down, across, (height, width), colors)
        if jitter:
            middle = view.mean((2, 3)).unflatten(0, (-1, frames)).mean(1).repeat_interleave(frames, 0)
            share = contrast[part]
            view.mul_(share[:, None, None, None]).add_(((1 - share) * luma(middle))[:, None, None, None])
        views[part] = view.clamp_(0, 1)
    views = views.unflatten(0, (n, frames)) if images.ndim == 5 else views
    views = invert(views, rng, solarize) if solarize else views
    return (views, *followed) if followed else views


def _keep(images: Tensor, mirrored: Tensor, matrices: Tensor | None) -> Tensor:
    """Images uint8 or float [n, c, h, w] -> new images float [n, c, h, w]: every pixel kept, flipped and recoloured."""
    pixels = images.float().div(255 if images.dtype == torch.uint8 else 1)
    pixels = where(mirrored, pixels.flip(3), pixels)
    return pixels if matrices is None else (matrices @ pixels.flatten(2)).view(pixels.shape)


def _axis(
    start: Tensor, length: Tensor, pixels: int, size: int, sigma: Tensor | None, mirrored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Crop, resize, flip and blur along one axis, for `along`; the last block may extend beyond the view's edge."""
    blocks = max(1, size // BLOCK)
    count = math.ceil(size / blocks)
    radius = 0 if sigma is None else size // 20
    block = torch.arange(-radius, count + radius, device=start.device)
    places = reflect(block + count * torch.arange(blocks, device=start.device)[:, None], size)
    if mirrored is not None:
        places = torch.where(mirrored[:, None, None], size - 1 - places, places)
    weights, first = axis_weights(start, length, pixels, size, places)
    return weights if sigma is None else blur_weights(sigma, count, radius)[:, None] @ weights, first


def _resample(
    images: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    size: tuple[int, int],
    matrices: Tensor | None,
) -> Tensor:
    """Images uint8 or float [n, c, h, w] -> float [n, c, *size]: rows, then colours, then columns."""
    n, c, h, w = images.shape
    weights, first = rows
    if images.dtype == torch.uint8:
        weights = weights / 255
    tall = along(images.permute(0, 2, 3, 1).reshape(n, 1, h, w * c), weights, first)
    planes = tall.unflatten(1, (w, c)).transpose(1, 2).flatten(3)[..., : size[0]]
    if matrices is not None:
        planes = torch.bmm(matrices, planes.reshape(n, c, -1)).view(n, c, w, size[0])
    return along(planes, *columns).unflatten(1, (c, size[0])).flatten(3)[..., : size[1]]
