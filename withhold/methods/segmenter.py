"""Methods that name the class of every pixel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods.answers import Image, Mask
from withhold.methods.base import Method, Optimizer
from withhold.needs import IGNORED
from withhold.nets import ImageEncoder
from withhold.pictures import PALETTE, painted

CROP, JITTER = (0.4, 1.0), (0.2, 0.2, 0.2, 0.05)
"""How much of an image a view shows, and how far its brightness, contrast, saturation and hue stray."""


class Segmenter(Method):
    """A method with a head over the maps of its encoder's stages, that gives scores of the classes at every pixel.

    One of its streams is of images with masks, whose classes it is told when it is made: they are no parameter.

    Args:
        classes: the names of the classes, in the order of their numbers in masks.
        flip: probability that a view of an image is a mirror image.
    """

    optimizer: Optimizer | dict[str, Optimizer] = Optimizer(lr=4e-3)  # 0.001 for 16 images
    batch_size = 16

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], flip: float):
        super().__init__(encoder)
        self.classes, self.flip = tuple(classes), flip
        self.head = nets.Pyramid(encoder, len(self.classes))

    def view(self, images: Tensor, masks: Tensor | None = None):
        """A crop of each image, or its mirror image, in colours that stray a little, and of its mask the same crop."""
        return views.augment(
            images, self.rng, size=self.encoder.size, crop=CROP, flip=self.flip, jitter=JITTER, masks=masks
        )

    def segment(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, h] in [0, 1] -> scores of the classes at every pixel [n, k, h, h]."""
        return self.head(nets.stage_maps(self.encoder, images), images.shape[2:])

    def terms(self, scores: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The mean cross-entropy of the pixels whose class is known, and the share of them that are named rightly."""
        masks = masks.long()
        known = masks != IGNORED
        count = known.sum().clamp(min=1)
        shares = masks[known].bincount(minlength=len(self.classes)) / count
        return {
            "loss": F.cross_entropy(scores, masks, ignore_index=IGNORED, reduction="sum") / count,
            "accuracy": (scores.argmax(1) == masks).sum() / count,
            "trivial": torch.special.entr(shares).sum(),
        }

    def says(self):
        return {"mask": lambda images: self.segment(images).argmax(1).float()}

    def apply_to(self, image):
        """An image -> the "mask" with its classes' numbers, and an "overlay" of the image and their colours.

        It is seen as in training, in squares as long as its shorter side. Where these overlap, shares are added.
        """
        h, w = image.shape[1:]
        side, longer = min(h, w), max(h, w)
        shares = torch.zeros(len(self.classes), h, w)
        axis = 1 if h > w else 2
        for start in torch.linspace(0, longer - side, math.ceil(longer / side)).round().int().tolist():
            scores = self.segment(self.encoder.take(image.narrow(axis, start, side)))
            seen = F.interpolate(scores.float(), (side, side), mode="bilinear", align_corners=False)[0].softmax(0)
            shares.narrow(axis, start, side).add_(seen.cpu())
        labels = shares.argmax(0)
        colours = painted(labels[None])
        overlay = (views.with_channels(views.to_float(image[None]), 3).cpu() + colours) / 2
        return {"mask": Mask(labels, PALETTE.flatten().tolist()), "overlay": Image(overlay[0])}

    def draw(self, masks: Tensor, images: Tensor) -> Tensor:
        """Masks [n, h, w] in their colours, float [n, c, h, w], grey where the images [n, c, ...] are."""
        return views.with_channels(painted(masks), images.shape[1])
