"""Residual networks (He et al., CVPR 2016)."""

from torch import Tensor, nn

from withhold.nets.encoder import ImageEncoder
from withhold.nets.registry import register

WIDTHS = (64, 128, 256, 512)


class ResNet(ImageEncoder):
    """A residual network without its classifier.

    Below 64 pixels it has the stem of the CIFAR variant, one 3x3 convolution at full resolution, and a stride of 8;
    otherwise a 7x7 convolution, max pooling, and a stride of 32. The scale of the last batch normalisation in every
    block is initialised to zero, so that each block starts as the identity (Goyal et al., 2017).

    Args:
        depths: number of blocks in each of the four stages.
        bottleneck: whether a block has 1x1, 3x3 and 1x1 convolutions with four times as many outputs, or two 3x3 ones.
    """

    def __init__(self, depths: tuple[int, int, int, int], bottleneck: bool, size: int, channels: int):
        small = size < 64
        expansion = 4 if bottleneck else 1
        super().__init__(dim=WIDTHS[-1] * expansion, channels=channels, size=size, stride=8 if small else 32)
        kernel, stride = (3, 1) if small else (7, 2)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, WIDTHS[0], kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1),
        )
        inputs, blocks = WIDTHS[0], []
        for width, depth in zip(WIDTHS, depths, strict=True):
            for position in range(depth):
                stride = 2 if position == 0 and width > WIDTHS[0] else 1
                blocks.append(Block(inputs, width, width * expansion, stride, bottleneck))
                inputs = width * expansion
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def encode(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))

    def stages(self):
        return [[self.stem], *([block] for block in self.blocks)]


class Block(nn.Module):
    """Two or three convolutions with a shortcut: [n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, bottleneck: bool):
        super().__init__()
        if bottleneck:
            layers = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        else:
            layers = [(inputs, width, 3, stride), (width, outputs, 3, 1)]
        parts: list[nn.Module] = []
        for before, after, kernel, step in layers:
            norm = nn.BatchNorm2d(after)
            parts += [nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False), norm, nn.ReLU(inplace=True)]
        nn.init.zeros_(norm.weight)
        self.residual = nn.Sequential(*parts[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.rectify = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rectify(self.residual(x) + self.shortcut(x))


@register
def resnet18(size: int, channels: int) -> ImageEncoder:
    """ResNet-18: 512 features; below 64 pixels it has the stem of the CIFAR variant."""
    return ResNet((2, 2, 2, 2), bottleneck=False, size=size, channels=channels)


@register
def resnet34(size: int, channels: int) -> ImageEncoder:
    """ResNet-34: 512 features; below 64 pixels it has the stem of the CIFAR variant."""
    return ResNet((3, 4, 6, 3), bottleneck=False, size=size, channels=channels)


@register
def resnet50(size: int, channels: int) -> ImageEncoder:
    """ResNet-50: 2,048 features; below 64 pixels it has the stem of the CIFAR variant."""
    return ResNet((3, 4, 6, 3), bottleneck=True, size=size, channels=channels)
