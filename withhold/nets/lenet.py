"""The small network of digits that domain adaptation began with."""

from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder, Layered
from withhold.nets.registry import register

CELLS = 4
SMALLEST = 16


@register(name="lenet")
class LeNet(Layered, ImageEncoder):
    """Two 5x5 convolutions without any normalisation: 768 features that keep where in the image something is.

    For domains that differ in colour and background: batch statistics of one do not fit the other. Source: Ganin et
    al., JMLR 2016, figure 4a, whose feature extractor for MNIST this is at 28 pixels (three more layers name the
    classes there); at other sizes the map is averaged to as many cells.
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
            f"lenet takes images, and parts of images, of {SMALLEST} pixels or more, not of {pixels}: use larger ones, "
            "or another encoder."
        )
