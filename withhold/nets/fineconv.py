"""A light convolutional encoder with a fine feature map, for tracking and matching."""

from torch import nn

from withhold.nets.convnet import block
from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register


@register(name="fineconv")
class FineConv(Layered, ImageEncoder):
    """Four 3x3 convolutions and a linear one: 64 features for every 4 x 4 pixels.

    No ReLU follows the last batch normalisation, so features vary about zero and cosines separate places before
    training. The receptive field is 47 x 47 pixels. Edges are replicated, because zero padding would reveal positions.
    At 96 pixels it takes 94 million multiply-adds.
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
