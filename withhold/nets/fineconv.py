"""A light convolutional encoder with a fine map, for what is to be found again in place."""

from torch import nn

from withhold.nets.convnet import block
from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register


@register(name="fineconv")
class FineConv(Layered, ImageEncoder):
    """Four 3x3 convolutions and a linear one: 64 features for every 4 x 4 pixels.

    They vary about zero, so that cosines tell places apart from the start: the last batch normalisation has no ReLU. A
    place sees 47 x 47 pixels. Edges are continued, not filled with zeros, which would tell a place where it is. At 96
    pixels it takes 94 million multiply-adds.
    """

    default = "fineconv"

    def __init__(self, size: int, channels: int):
        super().__init__(dim=64, channels=channels, size=size, stride=4)
        self.blocks = nn.Sequential(
            *block(channels, 32, stride=2, continued=True),
            *block(32, 64, stride=2, continued=True),
            *block(64, 96, dilation=2, continued=True),
            *block(96, 96, dilation=3, continued=True),
            nn.Conv2d(96, 64, 1, bias=False),
            nn.BatchNorm2d(64),
        )
