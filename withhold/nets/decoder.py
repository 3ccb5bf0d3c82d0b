"""A decoder from feature maps to images."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

WIDEST, NARROWEST = 256, 32


class Decoder(nn.Module):
    """Feature map [n, dim, grid, grid] -> image [n, channels, size, size], with no final activation.

    Transposed convolutions double the map until it has `size` pixels or more, and halve the features each time. Excess
    pixels are cropped at the right and bottom, where an encoder of the same stride pads. If the stride is not a power
    of two or the map is larger than the image, the output is scaled down instead.
    """

    def __init__(self, dim: int, channels: int, grid: int, size: int):
        super().__init__()
        self.size = size
        doublings = max(0, math.ceil(math.log2(size / grid)))
        widths = [max(NARROWEST, min(dim, WIDEST) >> i) for i in range(1, doublings + 1)]
        layers: list[nn.Module] = []
        for inputs, outputs in zip([dim, *widths], widths, strict=False):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1] if widths else dim, channels, 3, padding=1))
        self.cut = grid == math.ceil(size / 2**doublings)

    def forward(self, maps: Tensor) -> Tensor:
        images = self.layers(maps)
        if self.cut:
            return images[:, :, : self.size, : self.size]
        return F.interpolate(
            images.float(), (self.size, self.size), mode="bilinear", align_corners=False, antialias=True
        )
