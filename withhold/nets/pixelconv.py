"""An encoder with features for every pixel, for image restoration."""

from torch import nn

from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register


@register(name="pixelconv")
class PixelConv(Layered, ImageEncoder):
    """Five 3x3 convolutions, the inner ones dilated: 64 features for every pixel, from the 21 x 21 pixels around it.

    It has no batch normalisation, because restoration depends on the brightness of the image. Edges are replicated. At
    32 pixels it takes 48 million multiply-adds.
    """

    default = "pixelconv"

    def __init__(self, size: int, channels: int):
        super().__init__(dim=64, channels=channels, size=size, stride=1)
        widths, dilations = (channels, 32, 32, 32, 32, 64), (1, 2, 4, 2, 1)
        self.blocks = nn.Sequential()
        for inputs, outputs, dilation in zip(widths, widths[1:], dilations, strict=False):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, padding_mode="replicate")
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            self.blocks.extend([convolution, nn.ReLU(inplace=True)])
