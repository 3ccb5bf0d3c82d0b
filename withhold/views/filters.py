"""Blur, solarisation, noise and erased rectangles; edges and corners."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.views.color import with_channels
from withhold.views.masks import block_mask
from withhold.views.precision import precise
from withhold.views.random import chance, where

SIGMA = 1.0
"""Standard deviation, in pixels, of the blur before the gradient and of the window of the structure tensor."""


def blur_weights(sigma: Tensor, count: int, radius: int) -> Tensor:
    """A Gaussian blur along an axis, of standard deviation `sigma` [n] in pixels, cut off at `radius`.

    Returns:
        weights [n, count, radius + count + radius]: for `count` adjacent pixels, over them and `radius` on each side.
    """
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma[:, None] ** 2).clamp(min=1e-6), 1)
    tap = torch.arange(count + 2 * radius, device=sigma.device) - torch.arange(count, device=sigma.device)[:, None]
    return kernel[:, tap.clamp(0, 2 * radius)] * ((tap >= 0) & (tap <= 2 * radius))


def solarize(images: Tensor, rng: torch.Generator, probability: float = 1.0) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the same; with `probability`, values from 0.5 up are inverted."""
    inverted = torch.where(images >= 0.5, 1 - images, images)
    return where(chance(len(images), probability, rng), inverted, images)


def noise(images: Tensor, rng: torch.Generator, deviation: float = 0.1) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the same with Gaussian noise of this standard deviation, clamped."""
    return (images + deviation * torch.randn(images.shape, generator=rng, device=images.device)).clamp_(0, 1)


def erase(
    images: Tensor,
    rng: torch.Generator,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.33),
    aspect: tuple[float, float] = (0.3, 3.3),
    value: float = 0.5,
) -> Tensor:
    """Images float [n, c, h, w] -> the same; with `probability`, a random rectangle is filled with `value`.

    `area` (a share of the image's) and `aspect` (width / height) give the smallest and largest for the rectangle.
    Source: random erasing, Zhong et al., AAAI 2020.
    """
    n, _, h, w = images.shape
    hole = block_mask(n, h, w, rng, area=area, aspect=aspect)
    return images.masked_fill(hole & chance(n, probability, rng)[:, None, None, None], value)


@precise
def edges(images: Tensor) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the edge strength of their lightness [n, 1, h, w].

    The norm of Sobel's gradient of the lightness after a Gaussian blur: Canny's detector without thinning and
    thresholds, as Zamir et al. (CVPR 2018) use it for texture edges.
    """
    return _gradient(images).square().sum(1, keepdim=True).sqrt()


@precise
def corners(images: Tensor) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the corner strength of their lightness [n, 1, h, w].

    The square root of the smaller eigenvalue of the structure tensor, which is the gradient in the direction where it
    is smallest. Along a straight edge it is 0. Source: Shi & Tomasi, CVPR 1994.
    """
    dx, dy = _gradient(images).unbind(1)
    xx, yy, xy = _smooth(torch.stack([dx * dx, dy * dy, dx * dy], 1)).unbind(1)
    smaller = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy.square()).sqrt()
    return smaller.clamp(min=0).sqrt()[:, None]


def _gradient(images: Tensor) -> Tensor:
    """Sobel's gradient of the blurred lightness, per pixel: [n, 2, h, w], along x and along y."""
    slope, across = images.new_tensor([-0.5, 0, 0.5]), images.new_tensor([0.25, 0.5, 0.25])
    kernels = torch.stack([torch.outer(across, slope), torch.outer(slope, across)])
    light = _smooth(with_channels(images, 1))
    return F.conv2d(F.pad(light, [1] * 4, mode="replicate"), kernels[:, None])


def _smooth(maps: Tensor) -> Tensor:
    """Maps [n, c, h, w] after a Gaussian blur of standard deviation `SIGMA`, with replicated edges."""
    radius = math.ceil(3 * SIGMA)
    (kernel,) = blur_weights(maps.new_tensor([SIGMA]), 1, radius)
    along = kernel.expand(maps.shape[1], 1, 1, -1)
    for weight, pad in ((along, (radius, radius, 0, 0)), (along.transpose(2, 3), (0, 0, radius, radius))):
        maps = F.conv2d(F.pad(maps, pad, mode="replicate"), weight, groups=maps.shape[1])
    return maps
