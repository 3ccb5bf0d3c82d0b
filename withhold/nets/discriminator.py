"""A discriminator for adversarial training on images."""

import math
from collections.abc import Callable

from torch import Tensor, nn


class Discriminator(nn.Module):
    """Images [n, channels, size, size] in [0, 1] -> logits [n], high for images that look real.

    Convolutions of stride 2 down to 4 pixels, with leaky ReLU and normalisation, as in DCGAN (Radford et al., ICLR
    2016).

    Args:
        norm: makes the normalisation layer for a number of channels; by default batch normalisation.
    """

    def __init__(self, channels: int, size: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        layers: list[nn.Module] = []
        inputs, side = channels, size
        for stage in range(max(0, round(math.log2(size / 4)))):
            outputs = min(512, 64 << stage)
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=stage == 0)]
            layers += [norm(outputs)] if stage else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            inputs, side = outputs, side // 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, 1, side), nn.Flatten(0))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)

    def features(self, images: Tensor) -> Tensor:
        """The features before the last convolution, of which the logits are a linear function: [n, d, side, side]."""
        return self.layers[:-2](2 * images - 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers[-2:](self.features(images))
