"""Mixup of samples and their targets."""

import torch
from torch import Tensor

from withhold.views.random import beta


def mixup(images: Tensor, targets: Tensor, rng: torch.Generator, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each image, clip or spectrogram, float [n, ...], and its class probabilities [n, k] with a random other one.

    The weight of a sample is max(l, 1 - l), with l from Beta(alpha, alpha) drawn for each sample (Berthelot et al.,
    NeurIPS 2019, equations 8 to 11; Zhang et al., ICLR 2018, use l itself). A smaller `alpha` mixes less.
    """
    share = beta(len(images), alpha, rng)
    rest = torch.minimum(share, 1 - share)
    other = torch.randperm(len(images), generator=rng, device=rng.device)
    return (
        torch.lerp(images, images[other], rest.view(-1, *[1] * (images.ndim - 1))),
        torch.lerp(targets, targets[other], rest[:, None]),
    )
