"""An encoder with two separate halves, for lightness and for colour."""

import torch
from torch import Tensor

from withhold import views
from withhold.errors import UsageError
from withhold.nets.convnet import blocks
from withhold.nets.encoder import ImageEncoder, layers
from withhold.nets.registry import register


@register(name="split-convnet")
class SplitConvNet(ImageEncoder):
    """Two convnets of half the width: one takes the lightness of CIE Lab, the other its colours (ab).

    The first 128 of the 256 features are those of the lightness. At 32 pixels it takes 7 million multiply-adds. Source:
    Zhang, Isola & Efros, CVPR 2017, section 3.1, who split AlexNet in the same way.

    Raises:
        UsageError: the images are grey.
    """

    default = "split-convnet"

    def __init__(self, size: int, channels: int):
        if channels != 3:
            raise UsageError(
                "split-convnet, and every method that uses it, needs colour images, and these are grey. Choose another "
                "method or encoder."
            )
        super().__init__(dim=256, channels=channels, size=size, stride=8)
        self.lightness, self.color = blocks(1, width=16), blocks(2, width=16)

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat(self.halves(self.denormalize(x)), 1)

    def halves(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Colour images float [n, 3, h, w] in [0, 1] -> maps of both halves, [n, dim / 2, h', w'] each."""
        lab = views.rgb_to_lab(images)
        return self.lightness(lab[:, :1] / 25 - 2), self.color(lab[:, 1:] / 25)

    def stages(self):
        return [first + second for first, second in zip(layers(self.lightness), layers(self.color), strict=True)]
