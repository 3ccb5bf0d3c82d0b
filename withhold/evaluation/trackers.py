"""Trackers that propagate the first frame's mask through a video: by an encoder's maps, and controls."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets, views
from withhold.nets import ImageEncoder

Tracker = Callable[[Tensor, Tensor], Iterator[Tensor]]
"""A whole video uint8 [t, 3, h, w] and the labels of its first frame, int64 [h', w'] from 0 -> labels of each frame."""

PATCH, STRIDE = 5, 4
"""Side and stride, in pixels, of the patches whose raw colours are compared."""
ALIKE = 10.0
"""Root mean square distance of two patches in CIE Lab at which the weight is exp(-1 / 2) of that of equal patches."""


def by_encoder(encoder: ImageEncoder, device: torch.device, near: bool = False) -> Tracker:
    """Compare places by the cosine similarity of their features; the encoder is moved to `device`.

    With `near`, only nearby places of the first frame are compared, as for other frames.
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
    """Compare places by the colours of their patches of 5 x 5 pixels, in frames whose shorter side is `side`."""

    def follow(frames: Tensor, mask: Tensor) -> Iterator[Tensor]:
        shares = nets.track(lab_patches, frames, mask, side, STRIDE)
        return (nets.at_pixels(part, (mask.shape[0], mask.shape[1])) for part in shares)

    return follow


def copied(frames: Tensor, mask: Tensor) -> Iterator[Tensor]:
    """Copy the first frame's mask to every frame."""
    return (mask for _ in frames)


def lab_patches(images: Tensor) -> Tensor:
    """Images float [n, 3, h, w] -> scaled Lab colours of the patch at every cell, [n, 75, h / 4, w / 4]."""
    lab = F.pad(views.rgb_to_lab(images), (0, PATCH - STRIDE, 0, PATCH - STRIDE), mode="replicate")
    patches = F.unfold(lab, PATCH, stride=STRIDE) / (ALIKE * PATCH / nets.TEMPERATURE**0.5)
    return patches.unflatten(2, (images.shape[2] // STRIDE, images.shape[3] // STRIDE))
