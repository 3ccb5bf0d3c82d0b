"""A light convolutional encoder for CPUs."""

from torch import nn

from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register


@register(name="convnet")
class ConvNet(Layered, ImageEncoder):
    """Four 3x3 convolutions with batch normalisation: 256 features from 14 million multiply-adds at 32 pixels."""

    def __init__(self, size: int, channels: int):
        super().__init__(dim=256, channels=channels, size=size, stride=8)
        self.blocks = blocks(channels)


def blocks(channels: int, width: int = 32) -> nn.Sequential:
    """Four convolutions [n, channels, h, w] -> [n, 8 * width, h / 8, w / 8], rounded up."""
    return nn.Sequential(
        *block(channels, width, stride=2),
        *block(width, 2 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        *block(2 * width, 4 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        *block(4 * width, 8 * width),
    )


def block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1, continued: bool = False) -> list[nn.Module]:
    """A 3x3 convolution with replicated edges (`continued`) or zero padding, batch normalisation and ReLU."""
    convolution = nn.Conv2d(
        inputs,
        outputs,
        3,
        stride,
        padding=dilation,
        dilation=dilation,
        bias=False,
        padding_mode="replicate" if continued else "zeros",
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
