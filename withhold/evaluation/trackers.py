"""Ways to follow what the first frame's mask marks: by an encoder's maps, and the controls."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets, views
from withhold.nets import ImageEncoder

Tracker = Callable[[Tensor, Tensor], Iterator[Tensor]]
"""A whole video uint8 [t, 3, h, w] and the labels of its first frame, int64 [h', w'] from 0 -> those of each frame."""

PATCH, STRIDE = 5, 4
"""Pixels of the patches that raw colours are compared by, and from one to the next."""
ALIKE = 10.0
"""Root mean square distance of two patches in CIE Lab at which one counts exp(-1 / 2) of what an equal one does."""


def by_encoder(encoder: ImageEncoder, device: torch.device, near: bool = False) -> Tracker:
    """Places are alike whose features point the same way; the encoder is moved to `device`.

    With `near`, the first frame too is only asked about places nearby.
    """
    encoder.to(device)

    def follow(frames: Tensor, mask: Tensor) -> Iterator[Tensor]:
        def embed(images: Tensor) -> Tensor:
            return F.normalize(encoder.maps(images.to(device)), dim=1)

        with nets.frozen(encoder):
            shares = nets.track(embed, frames, mask, encoder.size, encoder.stride, near).cpu()
        return (nets.at_pixels(part, (mask.shape[0], mask.shape[1])) for part in shares)

    return follow


def by_color(side: int) -> Tracker:
    """Places are alike whose patches of 5 x 5 pixels have the same colours, in frames of that shorter side."""

    def follow(frames: Tensor, mask: Tensor) -> Iterator[Tensor]:
        shares = nets.track(lab_patches, frames, mask, side, STRIDE)
        return (nets.at_pixels(part, (mask.shape[0], mask.shape[1])) for part in shares)

    return follow


def copied(frames: Tensor, mask: Tensor) -> Iterator[Tensor]:
    """Nothing moves: every frame has the first one's mask."""
    return (mask for _ in frames)


def lab_patches(images: Tensor) -> Tensor:
    """Images float [n, 3, h, w] -> the Lab of the patch in the middle of every cell, [n, 75, h / 4, w / 4], scaled."""
    lab = F.pad(views.rgb_to_lab(images), (0, PATCH - STRIDE, 0, PATCH - STRIDE), mode="replicate")
    patches = F.unfold(lab, PATCH, stride=STRIDE) / (ALIKE * PATCH / nets.TEMPERATURE**0.5)
    return patches.unflatten(2, (images.shape[2] // STRIDE, images.shape[3] // STRIDE))
