"""The fused chain of random changes that contrastive methods use."""

import torch
from torch import Tensor

from withhold.views.color import LUMA, Jitter, chance, color_matrices, draw_jitter, to_float
from withhold.views.geometry import axis_weights, draw_crops, resample


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
) -> Tensor:
    """Random views of images, different for each: one resampling and one product of colours for all of it.

    Args:
        images: uint8 [n, c, h, w], or float in [0, 1]; c is 1 or 3.
        rng: on the images' device.
        size: height and width of the views in pixels; the images' by default.
        crop: least and largest area of the crop as a share of the image's; the whole image by default.
        aspect: least and largest width / height of the crop.
        flip: probability of a mirror image.
        jitter: widths for brightness, contrast, saturation and hue (in turns), as in torchvision's ColorJitter.
        jitter_probability: share of the views whose colours are jittered.
        grey: probability of a grey view.
        blur: probability of a Gaussian blur of 0.1 to 2 pixels.
        solarize: probability that values above one half are inverted.

    Returns:
        float32 [n, c, size, size] in [0, 1], channels last.
    """
    n, c, h, w = images.shape
    height, width = (size, size) if size else (h, w)
    mirrored = chance(n, flip, rng)
    views = to_float(images)
    if crop or (height, width) != (h, w):
        zero = torch.zeros(n, device=images.device)
        top, left, tall, wide = draw_crops(n, h, w, crop, aspect, rng) if crop else (zero, zero, zero + h, zero + w)
        rows = axis_weights(top, tall, h, height)
        columns = axis_weights(left, wide, w, width, mirrored)
        views = resample(views, rows, columns)
    else:
        views = torch.where(mirrored[:, None, None, None], views.flip(3), views)
    if jitter or grey:
        brightness, contrast, saturation, hue = draw_jitter(n, jitter or (0, 0, 0, 0), jitter_probability, rng)
        saturation = saturation * ~chance(n, grey, rng)
        matrices = color_matrices(brightness, contrast, saturation, hue)
        luma = torch.tensor(LUMA, device=images.device)
        means = views.mean((2, 3)) @ luma if c == 3 else views.mean((1, 2, 3))
        offsets = brightness * (1 - contrast) * means
        flat = views.reshape(n, c, -1)
        flat = matrices @ flat if c == 3 else flat * (brightness * contrast)[:, None, None]
        views = (flat + offsets[:, None, None]).clamp_(0, 1).view(n, c, height, width)
    return views.contiguous(memory_format=torch.channels_last)
