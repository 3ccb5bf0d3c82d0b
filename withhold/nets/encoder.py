"""Base classes of encoders, which map each sample to one feature vector."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from withhold import views


class Encoder(nn.Module):
    """Samples of one kind of data, as returned by `views.to_float` -> features [n, dim].

    A subclass calls `super().__init__(dim)` and defines `maps` and `forward`.

    Args:
        dim: length of a feature vector.

    Attributes:
        kind: the kind of data that it encodes.
        default: the name of the default encoder for methods that require this class; "" chooses by hardware.
        learned: whether it has pretrained weights before its method trains it.
        span: the number of frames, samples or tokens of its inputs, if it is trained on windows of long items.
    """

    kind: ClassVar[str]
    default: ClassVar[str] = ""
    learned: bool = False
    span: int | None = None

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def take(self, item: Any) -> Any:
        """One sample, as `Method.apply_to` receives it -> a batch of it as input of the encoder."""
        return views.to_float(tree_map(lambda part: part[None], item))

    def cut(self, item: Any) -> Any:
        """One sample, as `Method.apply_to` receives it -> a batch of its windows, cut as for training.

        It is a batch of the sample itself if the encoder has no `span`.
        """
        if self.span is None:
            return self.take(item)
        lacking = self.span - len(item)
        if lacking > 0:  # of a video the last frame is repeated
            rest = item[-1:].expand(lacking, *item.shape[1:]) if item.ndim > 1 else item.new_zeros(lacking)
            item = torch.cat([item, rest])
        windows = [item[begin : begin + self.span] for begin in begins(len(item), self.span)]
        return views.to_float(torch.stack(windows))

    def light_view(self, items: Any, rng: torch.Generator, flip: float = 0.0) -> Any:
        """A batch as loaded -> a random view of it as input of the encoder, augmented lightly enough to keep the class.

        Args:
            flip: probability of a horizontal flip, for images.
        """
        return views.to_float(items)

    def draw(self, items: Any) -> Tensor | list[str]:
        """Inputs of the encoder -> what to display: images [n, c, h, w], clips [n, t, c, h, w], or captions."""
        return items

    def prepared(self) -> dict[str, Any]:
        """The parameters of its input normalisation, as a run's configuration records them."""
        return {}

    def maps(self, items: Any) -> Tensor:
        """Samples -> feature maps [n, dim, ...]."""
        raise NotImplementedError(f"{type(self).__name__} defines no maps(items).")

    def forward(self, items: Any) -> Tensor:
        """Samples -> features [n, dim]."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(items).")

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Its parts from input to output, for freezing some of them and for layer-wise learning rates."""
        return [list(self.children())]


def begins(length: int, span: int) -> list[int]:
    """Where the windows of an item begin: they are adjacent, and the last one ends where the item ends."""
    return [min(begin, length - span) for begin in range(0, length, span)] or [0]


def layers(blocks: nn.Sequential | nn.ModuleList) -> list[list[nn.Module | nn.Parameter]]:
    """The stages of a sequence: each layer with kernels, together with the layers without kernels that follow it."""
    found: list[list[nn.Module | nn.Parameter]] = []
    for part in blocks:
        if not found or any(parameter.ndim > 1 for parameter in part.parameters()):
            found.append([])
        found[-1].append(part)
    return found


class PixelEncoder(Encoder):
    """An encoder of pixels: images, frames or spectrograms. It normalises its own input.

    Views, `embed` and ONNX models therefore all use plain pixels in [0, 1]. A subclass calls
    `super().__init__(dim, channels, size, stride)` and defines `encode`.

    Args:
        channels: 1 (lightness) or 3 (RGB). Other images are converted: colour to CIE lightness, grey by repetition.
        size: height and width in pixels that the encoder is built for; convolutional encoders accept others.
        stride: pixels per cell of the feature map.
        mean, std: normalisation of the input, one value per channel; the default maps [0, 1] to [-2, 2].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, channels: int, size: int, stride: int, mean=0.5, std=0.25):
        super().__init__(dim)
        self.channels, self.size, self.stride = channels, size, stride
        self.register_buffer("mean", torch.as_tensor(mean).expand(channels).reshape(channels, 1, 1).clone())
        self.register_buffer("std", torch.as_tensor(std).expand(channels).reshape(channels, 1, 1).clone())

    def prepared(self):
        """The mean and the standard deviation of each channel."""
        channels = {"mean": self.mean, "deviation": self.std}
        return {name: [round(value, 6) for value in part.flatten().tolist()] for name, part in channels.items()}

    @property
    def grid(self) -> int:
        """Height and width of the feature map at `size` pixels."""
        return -(-self.size // self.stride)

    def encode(self, x: Tensor) -> Tensor:
        """Normalised images [n, c, h, w] -> feature map [n, dim, h', w']: what a subclass defines."""
        raise NotImplementedError(f"{type(self).__name__} defines no encode(x).")

    def normalize(self, images: Tensor) -> Tensor:
        """Images float [n, 1 or 3, h, w] in [0, 1] -> the encoder's channels, normalised."""
        if images.ndim != 4:
            raise ValueError(
                f"An encoder takes images [n, channels, height, width], not {list(images.shape)}. "
                "Pass a single image as image[None]."
            )
        if not images.is_floating_point():
            raise ValueError(f"An encoder takes images as floats in [0, 1], not {images.dtype}. Divide bytes by 255.")
        return (views.with_channels(images, self.channels) - self.mean) / self.std

    def denormalize(self, x: Tensor) -> Tensor:
        """Outputs of a decoder [n, channels, h, w] -> images: the inverse of `normalize`; zero becomes the mean."""
        return x * self.std + self.mean

    def blank(self, images: Tensor, holes: Tensor) -> Tensor:
        """Images [n, channels, h, w], filled with the mean where `holes` [n, 1, h, w] are true.

        The mean is zero after normalisation; black would be a valid colour.
        """
        return images.where(~holes, self.denormalize(torch.zeros_like(images)))

    def light_view(self, items, rng, flip=0.0):
        """Random crops and flips of images uint8 [n, c, h, w]; the same for all frames of a clip [n, t, c, h, w]."""
        return views.augment(items, rng, crop=(0.4, 1.0), flip=flip)

    def maps(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> feature map [n, dim, h', w']."""
        return self.encode(self.normalize(images))

    def forward(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> features [n, dim], the mean over the feature map."""
        return self.maps(images).mean((2, 3))


class Layered(nn.Module):
    """A mixin for encoders that are one sequence of layers, `blocks`. List it before the encoder's base class."""

    blocks: nn.Sequential

    def encode(self, x: Tensor) -> Tensor:
        return self.blocks(x)

    def stages(self):
        return layers(self.blocks)


class ImageEncoder(PixelEncoder):
    """Images float [n, c, h, w] in [0, 1] -> features [n, dim].

    For clips [n, t, c, h, w], it encodes every frame and returns the mean of their features.
    """

    kind = "image"

    def take(self, item):
        """The central square of an image of any shape, scaled to `size`."""
        h, w = item.shape[-2:]
        square = item[None, ..., max(0, h - w) // 2 :, max(0, w - h) // 2 :][..., : min(h, w), : min(h, w)]
        return views.augment(square, torch.Generator(), size=self.size, flip=0)

    def view(self, images: Tensor, rng: torch.Generator, **options: Any) -> Tensor:
        """Random views of images [n, c, h, w], of its size and with its channels; see `views.augment` for `options`."""
        return views.with_channels(views.augment(images, rng, size=self.size, **options), self.channels)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim == 5:
            return self(images.flatten(0, 1)).unflatten(0, images.shape[:2]).mean(1)
        return super().forward(images)
