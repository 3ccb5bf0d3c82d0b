"""Methods that say something of every place of an image."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from withhold import nets, views
from withhold.methods.base import Method, Optimizer
from withhold.nets import ImageEncoder

CROP, JITTER = (0.4, 1.0), (0.2, 0.2, 0.2, 0.05)
"""How much of an image a view shows, and how far its brightness, contrast, saturation and hue stray."""


class Dense(Method):
    """A method with a head over the maps of its encoder's stages.

    One of its streams is of images with masks or boxes, whose classes it is told when it is made: they are no
    parameter.

    Args:
        classes: the names of the classes, in the order of their numbers.
        flip: probability that a view of an image is a mirror image.
        outputs: numbers that the head says of every place.
    """

    optimizer: Optimizer | dict[str, Optimizer] = Optimizer(lr=4e-3)  # 0.001 for 16 images
    batch_size = 16

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], flip: float, outputs: int):
        super().__init__(encoder)
        self.classes, self.flip = tuple(classes), flip
        self.head = nets.Pyramid(encoder, outputs)

    def view(self, images: Tensor, **parts: Any) -> Any:
        """A crop of each image, or its mirror image, in colours that stray a little; and the same crop of its parts."""
        size = self.encoder.size
        return views.augment(images, self.rng, size=size, crop=CROP, flip=self.flip, jitter=JITTER, **parts)

    def squares(self, image: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Squares of an image [c, h, w] as in training, as long as its shorter side, as the encoder takes them.

        With each come the left and the top pixel. Together they show all of it, and may overlap.
        """
        h, w = image.shape[1:]
        side, longer = min(h, w), max(h, w)
        for start in torch.linspace(0, longer - side, math.ceil(longer / side)).round().int().tolist():
            left, top = (0, start) if h > w else (start, 0)
            yield self.encoder.take(image[:, top : top + side, left : left + side]), left, top
