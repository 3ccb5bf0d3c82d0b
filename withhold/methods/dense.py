"""Base class of methods that predict something at every position of an image."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods.base import Method, Optimizer
from withhold.nets import ImageEncoder

CROP, JITTER = (0.4, 1.0), (0.2, 0.2, 0.2, 0.05)
"""Area of a crop, as a share of the image; strength of the jitter of brightness, contrast, saturation and hue."""


class Dense(Method):
    """A method with a head over the maps of its encoder's stages.

    One of its streams has images with masks or boxes. The class names come from the data; they are not a parameter.

    Args:
        classes: the names of the classes, in the order of their numbers.
        flip: probability of a horizontal flip of an image.
        outputs: number of values that the head predicts at every position.
    """

    optimizer: Optimizer | dict[str, Optimizer] = Optimizer(lr=4e-3)  # 0.001 for 16 images
    batch_size = 16
    gentle = False  # lower rates cost three to five points of IoU or AP (docs/segmentation.md)

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], flip: float, outputs: int):
        super().__init__(encoder)
        self.classes, self.flip = tuple(classes), flip
        self.head = nets.Pyramid(encoder, outputs)

    def view(self, images: Tensor, **parts: Any) -> Any:
        """A random crop of each image, flipped at random, with light colour jitter; and the same crop of `parts`."""
        size = self.encoder.size
        return views.augment(images, self.rng, size=size, crop=CROP, flip=self.flip, jitter=JITTER, **parts)

    def squares(self, image: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Square crops of an image [c, h, w], as in training, in the form that the encoder takes.

        The side is the image's shorter side. Each comes with its left and top pixel. Together they cover the image, and
        they may overlap.
        """
        h, w = image.shape[1:]
        side, longer = min(h, w), max(h, w)
        for start in torch.linspace(0, longer - side, math.ceil(longer / side)).round().int().tolist():
            left, top = (0, start) if h > w else (start, 0)
            yield self.encoder.take(image[:, top : top + side, left : left + side]), left, top

    def joined(self, image: Tensor, predict: Callable[[Tensor], Tensor], turn: Callable[[Tensor], Tensor]) -> Tensor:
        """Predictions for an image [c, h, w]: [k, h, w] on the CPU, the mean of those of all square crops at a pixel.

        Args:
            predict: crops in the form that the encoder takes -> [1, k, size, size].
            turn: applied to the predictions of a crop at its pixels, [k, side, side], before the mean.
        """
        h, w = image.shape[1:]
        side = min(h, w)
        found, count = torch.zeros(()), torch.zeros(())
        for square, left, top in self.squares(image):
            said = F.interpolate(predict(square).float(), (side, side), mode="bilinear", align_corners=False)[0]
            around = (left, w - side - left, top, h - side - top)
            found = found + F.pad(turn(said).cpu(), around)
            count = count + F.pad(torch.ones(side, side), around)
        return found / count
