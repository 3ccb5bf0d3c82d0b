"""Image-to-image networks."""

from torch import Tensor, nn


class Generator(nn.Module):
    """Images [n, channels, h, w] in [0, 1] -> images of the same size and range.

    Convolutions down to a quarter of the size, residual blocks, and transposed convolutions back up, with instance
    normalisation (Johnson et al., ECCV 2016; Zhu et al., ICCV 2017, appendix 7.2). If the size is not a multiple of
    four, the output is cropped at the right and bottom. The smallest size is 5 pixels.

    Args:
        width: channels at full size, 64 in the paper; at a quarter of the size there are four times as many.
        blocks: number of residual blocks; in the paper 6 for 128 pixels, 9 for more.
    """

    def __init__(self, channels: int, width: int = 64, blocks: int = 6):
        super().__init__()
        wide, widest = 2 * width, 4 * width
        self.layers = nn.Sequential(
            *normed(nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect", bias=False)),
            *normed(nn.Conv2d(width, wide, 3, stride=2, padding=1, bias=False)),
            *normed(nn.Conv2d(wide, widest, 3, stride=2, padding=1, bias=False)),
            *(ResidualBlock(widest) for _ in range(blocks)),
            *normed(nn.ConvTranspose2d(widest, wide, 3, stride=2, padding=1, output_padding=1, bias=False)),
            *normed(nn.ConvTranspose2d(wide, width, 3, stride=2, padding=1, output_padding=1, bias=False)),
            nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        h, w = images.shape[2:]
        return (self.layers(2 * images - 1)[:, :, :h, :w] + 1) / 2


class Refiner(nn.Module):
    """Images [n, channels, h, w] in [0, 1] -> images of the same size, range and layout.

    Residual blocks at full resolution (Shrivastava et al., CVPR 2017, section 3.1).

    Args:
        width: channels between the first and the last convolution; 64 in the paper.
        blocks: number of residual blocks; in the paper 4 for eyes, 10 for hands.
    """

    def __init__(self, channels: int, width: int = 64, blocks: int = 4):
        super().__init__()
        first = nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect")
        inner = (ResidualBlock(width) for _ in range(blocks))
        self.layers = nn.Sequential(first, nn.ReLU(inplace=True), *inner, nn.Conv2d(width, channels, 1), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        return (self.layers(2 * images - 1) + 1) / 2


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, and no activation after the sum."""

    def __init__(self, width: int):
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False) for _ in range(2))
        self.residual = nn.Sequential(*normed(first), second, nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


def normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution, instance normalisation and ReLU."""
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]
