"""Encoders of clips: convolutions in space and time."""

from torch import Tensor, nn
from torch.nn import functional as F

from withhold.nets.encoder import Layered, PixelEncoder
from withhold.nets.registry import register


class VideoEncoder(PixelEncoder):
    """Clips float [n, t, c, h, w] in [0, 1] -> features [n, dim].

    A subclass defines `encode`: normalised clips [n, c, t, h, w] -> feature map [n, dim, t', h', w'].
    """

    kind = "video"
    default = "conv3d"

    def normalize(self, images: Tensor) -> Tensor:
        """Clips float [n, t, 1 or 3, h, w] in [0, 1] -> [n, c, t, h, w], normalised, in the encoder's channels."""
        if images.ndim != 5:
            raise ValueError(
                f"An encoder of videos takes clips [n, frames, channels, height, width], not {list(images.shape)}. "
                "Pass a single clip as clip[None]."
            )
        frames = super().normalize(images.flatten(0, 1))
        return frames.unflatten(0, images.shape[:2]).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Clips float [n, t, c, h, w] in [0, 1] -> features [n, dim], the mean over the feature map."""
        return self.maps(images).mean((2, 3, 4))


@register(name="conv3d")
class Conv3d(Layered, VideoEncoder):
    """Four 3x3x3 convolutions with batch normalisation, for CPUs: 120 million multiply-adds for 16 frames of 32 pixels.

    The first three halve the height and width; the second and third halve the frames.
    """

    def __init__(self, size: int, channels: int):
        super().__init__(dim=256, channels=channels, size=size, stride=8)
        self.blocks = nn.Sequential(
            *block(channels, 32, 3, (1, 2, 2)),
            *block(32, 64, 3, 2),
            *block(64, 128, 3, 2),
            *block(128, 256, 3, 1),
        )


@register(name="r2plus1d-18")
class R2Plus1D(VideoEncoder):
    """R(2+1)D-18: a residual network that factorises each 3D convolution into one in space and one in time.

    The number of channels between the two is chosen so that both have the parameters of a 3x3x3 convolution.

    Source: Tran et al., CVPR 2018, table 1 and section 3.5; the 45 channels inside the stem follow the authors' code.
    """

    def __init__(self, size: int, channels: int):
        super().__init__(dim=512, channels=channels, size=size, stride=16)
        self.stem = nn.Sequential(
            *block(channels, 45, (1, 7, 7), (1, 2, 2)),
            *block(45, 64, (3, 1, 1), 1),
        )
        self.rest = nn.Sequential(
            Residual(64, 64, 1), Residual(64, 64, 1), Residual(64, 128, 2), Residual(128, 128, 1),
            Residual(128, 256, 2), Residual(256, 256, 1), Residual(256, 512, 2), Residual(512, 512, 1),
        )  # fmt: skip

    def encode(self, x: Tensor) -> Tensor:
        return self.rest(self.stem(x))

    def stages(self):
        return [[self.stem], *([block] for block in self.rest)]


class Residual(nn.Module):
    """Two factorised convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        second = factored(outputs, outputs, 1)
        self.layers = nn.Sequential(*factored(inputs, outputs, stride), *second[:-1])  # the last ReLU follows the sum
        same = inputs == outputs and stride == 1
        self.around = nn.Identity() if same else nn.Sequential(*block(inputs, outputs, 1, stride)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.around(x))


def factored(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """A convolution in space and one in time, with the parameters of a 3x3x3 one (Tran et al., section 3.5)."""
    between = 27 * inputs * outputs // (9 * inputs + 3 * outputs)
    return [
        *block(inputs, between, (1, 3, 3), (1, stride, stride)),
        *block(between, outputs, (3, 1, 1), (stride, 1, 1)),
    ]


def block(inputs: int, outputs: int, kernel: int | tuple[int, int, int], stride: int | tuple) -> list[nn.Module]:
    """A 3D convolution, padded by half its kernel, with batch normalisation and ReLU."""
    sides = (kernel,) * 3 if isinstance(kernel, int) else kernel
    padding = (sides[0] // 2, sides[1] // 2, sides[2] // 2)
    convolution = nn.Conv3d(inputs, outputs, sides, stride, padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)]
