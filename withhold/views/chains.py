"""Augmentation pipelines: weak, strong and distorted views, multi-crop, and RandAugment."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.augment import augment
from withhold.views.color import color_matrices, luma, to_float
from withhold.views.filters import erase
from withhold.views.geometry import inverse_affine, shift, warp
from withhold.views.precision import precise
from withhold.views.random import chance, where

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "saturation", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
DISTORTION: dict[str, Any] = {"crop": (0.2, 1.0), "jitter": (0.4, 0.4, 0.2, 0.1), "grey": 0.2}
Strong = Literal["flip", "cutout", "randaugment"]
"""What a strong view adds to a weak one: nothing, an erased square ("cutout"), or RandAugment and the square."""
STRONGEST = 30
"""The magnitude at which every operation reaches the end of its range."""


def weak(images: Tensor, rng: torch.Generator, *, size: int, flip: float = 0.5) -> Tensor:
    """Weakly augmented images: uint8 [n, c, h, w], or float in [0, 1] -> float32 [n, c, size, size].

    They are flipped with probability `flip` and shifted by up to an eighth of the side with reflection padding.
    Source: the weak augmentation of MixMatch (Berthelot et al., NeurIPS 2019), UDA and FixMatch: four of CIFAR's 32
    pixels.
    """
    return shift(augment(images, rng, size=size, flip=flip), rng)


def strong(
    images: Tensor, rng: torch.Generator, *, size: int, flip: float, magnitude: float, kind: Strong = "randaugment"
) -> Tensor:
    """Strongly augmented images: uint8 [n, c, h, w], or float in [0, 1] -> float32 [n, c, size, size].

    `kind` "randaugment": a weak view after `rand_augment` of this `magnitude`, with a square of half the width erased,
    as in UDA (Xie et al., NeurIPS 2020) and FixMatch (Sohn et al., NeurIPS 2020). "cutout": a weak view with the
    square erased (DeVries & Taylor, arXiv 1708.04552, 2017). "flip": a weak view.
    """
    changed = weak(images, rng, size=size, flip=flip)
    if kind == "flip":
        return changed
    if kind == "randaugment":
        changed = rand_augment(changed, rng, magnitude=magnitude)
    return erase(changed, rng, probability=1.0, area=(0.25, 0.25), aspect=(1.0, 1.0))


def distort(images: Tensor, rng: torch.Generator, *, size: int, blur: float = 0.5, **chain: Any) -> Any:
    """Images -> float [n, c, size, size]: a random view of each, for methods that compare views of one image.

    Random crop, flip, colour jitter, and greyscale for one in five views (Chen et al., ICML 2020). There is no blur
    below 64 pixels, because a blur of two pixels would remove most of a small image.

    Args:
        images: uint8 [n, c, h, w], or float in [0, 1].
        blur: probability of a blurred view.
        chain: further arguments of `augment`, which override the ranges of Grill et al., NeurIPS 2020 (`DISTORTION`).
    """
    return augment(images, rng, size=size, blur=blur if size >= 64 else 0.0, **DISTORTION | chain)


def asymmetric_pair(images: Tensor, rng: torch.Generator, *, size: int, **chain: Any) -> Tensor:
    """Images -> float [2n, c, size, size]: two views of each, all first views first (Grill et al., NeurIPS 2020).

    Both come from `distort`. All first views are blurred. A tenth of the second views is blurred, and a fifth of them
    is solarised. Below 64 pixels no view is blurred.
    """
    first = distort(images, rng, size=size, blur=1.0, **chain)
    return torch.cat([first, distort(images, rng, size=size, blur=0.1, solarize=0.2, **chain)])


@precise
def rand_augment(images: Tensor, rng: torch.Generator, operations: int = 2, magnitude: float = 9) -> Tensor:
    """RandAugment: images uint8 [n, c, h, w], or float in [0, 1] -> float32 in [0, 1]; black outside the image.

    For each image, `operations` are drawn at random from fourteen, all with the same `magnitude`, from 0 to 30. Ranges
    and directions are torchvision's. Source: Cubuk et al., NeurIPS 2020.
    """
    views = to_float(images)
    for _ in range(operations if len(views) else 0):
        chosen = torch.randint(len(OPERATIONS), (len(views),), generator=rng, device=rng.device)
        sign = torch.where(chance(len(views), 0.5, rng), 1.0, -1.0)
        views = _operate(views, chosen, sign, magnitude / STRONGEST)
    return views


def _operate(images: Tensor, chosen: Tensor, sign: Tensor, strength: float) -> Tensor:
    """One of `OPERATIONS` for each image, by its index [n], in the direction of `sign` [n]."""
    h, w = images.shape[2:]
    on = {name: chosen == index for index, name in enumerate(OPERATIONS)}

    def amount(name: str, largest: float) -> Tensor:
        return sign * (strength * largest) * on[name]

    # Shears are about the centre; those of torchvision, about the upper left corner, also move the image.
    move = torch.stack([amount("translate_x", w * 150 / 331), amount("translate_y", h * 150 / 331)], 1)
    turn, shear_x, shear_y = amount("rotate", 30), amount("shear_x", 0.3), amount("shear_y", 0.3)
    warped = warp(images, inverse_affine(turn, torch.ones_like(sign), shear_x, shear_y, move))
    images = where((chosen >= 1) & (chosen <= 5), warped, images)

    brightness, saturation, contrast = (1 + amount(name, 0.9) for name in ("brightness", "saturation", "contrast"))
    colors = color_matrices(brightness, saturation, torch.zeros_like(sign), images.shape[1])
    images = (colors @ images.flatten(2)).view(images.shape)
    mean = luma(images.mean((2, 3)))[:, None, None, None]
    images = torch.lerp(mean, images, contrast[:, None, None, None])
    images = torch.lerp(_smooth(images), images, 1 + amount("sharpness", 0.9)[:, None, None, None]).clamp_(0, 1)

    bins = 2.0 ** (8 - round(4 * strength))
    images = where(on["posterize"], (images * 255 / (256 / bins)).floor() * (256 / bins) / 255, images)
    images = where(on["solarize"], torch.where(images >= 1 - strength, 1 - images, images), images)
    images = where(on["autocontrast"], _stretch(images), images)
    return where(on["equalize"], _equalize(images), images)


def _smooth(images: Tensor) -> Tensor:
    """The 3x3 smoothing that the sharpness operation interpolates with; the border is unchanged."""
    kernel = torch.ones(images.shape[1], 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    inner = F.conv2d(images, kernel / 13, groups=images.shape[1])
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = inner
    return smooth


def _stretch(images: Tensor) -> Tensor:
    """Every channel stretched to the range from black to white; constant channels are unchanged."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def _equalize(images: Tensor) -> Tensor:
    """Every channel mapped so that its 256 levels are used evenly, as Pillow's ImageOps.equalize does."""
    n, c, h, w = images.shape
    level = (images * 255).round().long().reshape(n, c, h * w)
    counts = torch.zeros(n, c, 256, device=images.device, dtype=torch.long)
    counts.scatter_add_(2, level, torch.ones_like(level))
    below = counts.cumsum(2)
    last = (counts > 0).int().cumsum(2).argmax(2, keepdim=True)
    step = (h * w - counts.gather(2, last)) // 255
    table = ((below - counts + step // 2) // step.clamp(min=1)).clamp(0, 255)
    return torch.where(step[..., None] > 0, table.gather(2, level).view_as(images) / 255, images)
