"""Chains: weak and strong views, distorted ones, many crops of one image, and RandAugment."""

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
"""What makes a weak view strong, each beside what stands before it: nothing, an erased square, RandAugment."""
STRONGEST = 30
"""The magnitude that the ranges of the operations end at."""


def weak(images: Tensor, rng: torch.Generator, *, size: int, flip: float = 0.5) -> Tensor:
    """Images uint8 [n, c, h, w], or float in [0, 1] -> float32 [n, c, size, size] that no label could suffer from.

    They are mirrored with probability `flip` and moved by up to an eighth of the side, as in a mirror. Source: what
    MixMatch (Berthelot et al., NeurIPS 2019), UDA and FixMatch call weak: four pixels of CIFAR's 32.
    """
    return shift(augment(images, rng, size=size, flip=flip), rng)


def strong(
    images: Tensor, rng: torch.Generator, *, size: int, flip: float, magnitude: float, kind: Strong = "randaugment"
) -> Tensor:
    """Images uint8 [n, c, h, w], or float in [0, 1] -> float32 [n, c, size, size] that are hard to recognise.

    Weak ones after `rand_augment` of this `magnitude`, with a square erased that is half as wide: what UDA (Xie et al.,
    NeurIPS 2020) and FixMatch (Sohn et al., NeurIPS 2020) call strong. Of the kind "cutout" they have the square alone
    (DeVries & Taylor, arXiv 1708.04552, 2017), and of the kind "flip" they stay weak.
    """
    changed = weak(images, rng, size=size, flip=flip)
    if kind == "flip":
        return changed
    if kind == "randaugment":
        changed = rand_augment(changed, rng, magnitude=magnitude)
    return erase(changed, rng, probability=1.0, area=(0.25, 0.25), aspect=(1.0, 1.0))


def distort(images: Tensor, rng: torch.Generator, *, size: int, blur: float = 0.5, **chain: Any) -> Any:
    """Images -> float [n, c, size, size]: a random view of each, for methods that compare views of one image.

    A crop, mirrored or not, of other colours, one in five of them grey (Chen et al., ICML 2020). A blur of two pixels
    would leave little of a small image, so there is none below 64 pixels.

    Args:
        images: uint8 [n, c, h, w], or float in [0, 1].
        blur: probability of a blurred view.
        chain: what else `augment` takes, instead of the ranges of Grill et al., NeurIPS 2020 (`DISTORTION`).
    """
    return augment(images, rng, size=size, blur=blur if size >= 64 else 0.0, **DISTORTION | chain)


def asymmetric_pair(images: Tensor, rng: torch.Generator, *, size: int, **chain: Any) -> Tensor:
    """Images -> float [2n, c, size, size]: two views of each, first all the first ones (Grill et al., NeurIPS 2020).

    `distort` makes them. All first ones are blurred, of the second a tenth, and a fifth of those is solarised.
    """
    first = distort(images, rng, size=size, blur=1.0, **chain)
    return torch.cat([first, distort(images, rng, size=size, blur=0.1, solarize=0.2, **chain)])


def multi_crop(
    images: Tensor,
    rng: torch.Generator,
    *,
    global_views: int = 2,
    local_views: int = 6,
    sizes: tuple[int, int],
    crops: tuple[tuple[float, float], tuple[float, float]] = ((0.25, 1.0), (0.05, 0.25)),
    **chain: Any,
) -> list[Tensor]:
    """A few large crops and then more small ones of every image (Caron et al., NeurIPS 2020).

    Args:
        images: uint8 [n, c, h, w], or float in [0, 1].
        sizes: of the large and the small views, in pixels.
        crops: smallest and largest area of the large and of the small crops, as shares of the image's.
        chain: what else `distort` takes.

    Returns:
        `global_views` tensors float [n, c, sizes[0], sizes[0]], then `local_views` of [n, c, sizes[1], sizes[1]].
        Each is a tuple where `chain` has masks, boxes or points, as in `augment`.
    """
    counts = (global_views, local_views)
    kinds = [kind for kind, count in enumerate(counts) for _ in range(count)]
    return [distort(images, rng, size=sizes[kind], crop=crops[kind], **chain) for kind in kinds]


@precise
def rand_augment(images: Tensor, rng: torch.Generator, operations: int = 2, magnitude: float = 9) -> Tensor:
    """Images uint8 [n, c, h, w], or float in [0, 1] -> float32 in [0, 1]; black where an image was moved away.

    A few `operations` at random out of fourteen, different ones for each image, all of one `magnitude` from 0 to 30.
    Ranges and directions are torchvision's. Source: Cubuk et al., NeurIPS 2020.
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
    """The 3x3 smoothing that sharpness moves away from; the border stays as it is."""
    kernel = torch.ones(images.shape[1], 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    inner = F.conv2d(images, kernel / 13, groups=images.shape[1])
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = inner
    return smooth


def _stretch(images: Tensor) -> Tensor:
    """Every channel stretched from black to white; one that is flat stays as it is."""
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
