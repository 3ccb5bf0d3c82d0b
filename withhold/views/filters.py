"""Blur, noise, inverted tones and erased rectangles."""

import torch
from torch import Tensor

from withhold.views.masks import block_mask
from withhold.views.random import chance, where


def blur_weights(sigma: Tensor, count: int, radius: int) -> Tensor:
    """A Gaussian blur along an axis, of deviation `sigma` [n] in pixels, cut off at `radius`.

    Returns:
        weights [n, count, radius + count + radius]: of `count` neighbouring pixels and those around them.
    """
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma[:, None] ** 2).clamp(min=1e-6), 1)
    tap = torch.arange(count + 2 * radius, device=sigma.device) - torch.arange(count, device=sigma.device)[:, None]
    return kernel[:, tap.clamp(0, 2 * radius)] * ((tap >= 0) & (tap <= 2 * radius))


def solarize(images: Tensor, rng: torch.Generator, probability: float = 1.0, threshold: float = 0.5) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> with `probability`, values of at least `threshold` are inverted."""
    inverted = torch.where(images >= threshold, 1 - images, images)
    return where(chance(len(images), probability, rng), inverted, images)


def noise(images: Tensor, rng: torch.Generator, deviation: float = 0.1) -> Tensor:
    """Images float [n, c, h, w] in [0, 1] -> the same with Gaussian noise of that deviation, clamped."""
    return (images + deviation * torch.randn(images.shape, generator=rng, device=images.device)).clamp_(0, 1)


def erase(
    images: Tensor,
    rng: torch.Generator,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.33),
    aspect: tuple[float, float] = (0.3, 3.3),
    value: float = 0.5,
) -> Tensor:
    """Images float [n, c, h, w] -> the same, with `probability` of a rectangle of `value` at a random place.

    `area` is the rectangle's as a share of the image's, `aspect` its width / height: smallest and largest of each.
    Source: Zhong et al., AAAI 2020.
    """
    n, _, h, w = images.shape
    hole = block_mask(n, h, w, rng, area=area, aspect=aspect)
    return images.masked_fill(hole & chance(n, probability, rng)[:, None, None, None], value)
