"""Images made of two."""

import torch
from torch import Tensor

from withhold.views.random import beta


def mixup(images: Tensor, targets: Tensor, rng: torch.Generator, alpha: float) -> tuple[Tensor, Tensor]:
    """Images, clips or spectrograms, float [n, ...], and shares of classes [n, k], each mixed with another at random.

    A share is drawn from Beta(alpha, alpha), for every image its own, and the larger of it and its rest is the image's
    (Berthelot et al., NeurIPS 2019, equations 8 to 11; Zhang et al., ICLR 2018, without the larger-of). The smaller
    `alpha`, the less is mixed.
    """
    share = beta(len(images), alpha, rng)
    rest = torch.minimum(share, 1 - share)
    other = torch.randperm(len(images), generator=rng, device=rng.device)
    return (
        torch.lerp(images, images[other], rest.view(-1, *[1] * (images.ndim - 1))),
        torch.lerp(targets, targets[other], rest[:, None]),
    )
