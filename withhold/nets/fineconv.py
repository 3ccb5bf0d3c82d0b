"""A light convolutional encoder with a fine map, for what is to be found again in place."""

from torch import Tensor, nn

from withhold.nets.encoder import ImageEncoder, layers
from withhold.nets.registry import register


@register(name="fineconv")
class FineConv(ImageEncoder):
    """Four 3x3 convolutions and a linear one: 64 features for every 4 x 4 pixels.

    They vary about zero, so that cosines tell places apart from the start: the last batch normalisation has no ReLU. A
    place sees 47 x 47 pixels. Edges are continued, not filled with zeros, which would tell a place where it is. At 96
    pixels it takes 94 million multiply-adds.
    """

    default = "fineconv"

    def __init__(self, size: int, channels: int):
        super().__init__(dim=64, channels=channels, size=size, stride=4)
        self.blocks = nn.Sequential(
            *block(channels, 32, stride=2),
            *block(32, 64, stride=2),
            *block(64, 96, dilation=2),
            *block(96, 96, dilation=3),
            nn.Conv2d(96, 64, 1, bias=False),
            nn.BatchNorm2d(64),
        )

    def encode(self, x: Tensor) -> Tensor:
        return self.blocks(x)

    def stages(self):
        return layers(self.blocks)


def block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A 3x3 convolution that continues the edges, with batch normalisation and ReLU."""
    convolution = nn.Conv2d(
        inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False, padding_mode="replicate"
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
