"""The small network for digits of early work on domain adaptation."""

from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register

CELLS = 4
SMALLEST = 16


@register(name="lenet")
class LeNet(Layered, ImageEncoder):
    """Two 5x5 convolutions without normalisation: 768 features that keep the spatial layout.

    It suits domains that differ in colour and background, where the batch statistics of one do not fit the other.
    Source: at 28 pixels it is the feature extractor for MNIST of Ganin et al., JMLR 2016, figure 4a (without the three
    layers of its classifier); at other sizes the map is averaged to the same 4 x 4 cells.
    """

    def __init__(self, size: int, channels: int):
        _check(size)
        super().__init__(dim=48 * CELLS**2, channels=channels, size=size, stride=size)
        self.blocks = nn.Sequential(
            nn.Conv2d(channels, 32, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(CELLS),
            nn.Flatten(),
        )

    def encode(self, x: Tensor) -> Tensor:
        _check(min(x.shape[2:]))
        return super().encode(x)[:, :, None, None]


def _check(pixels: int) -> None:
    if pixels < SMALLEST:
        raise UsageError(
            f"lenet takes images, and crops of images, of {SMALLEST} pixels or more, not of {pixels}. Use larger ones, "
            "or another encoder."
        )
