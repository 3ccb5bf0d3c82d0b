"""Encoders by name."""

from collections.abc import Callable

from torch import nn

from withhold.errors import UsageError, suggestion
from withhold.nets.encoder import Encoder

Builder = Callable[[int, int], Encoder]

_BUILDERS: dict[str, Builder] = {}


def register(builder: Builder) -> Builder:
    """Declare `builder(size, channels)` as an encoder of the library; its name is the function's, with hyphens."""
    _BUILDERS[builder.__name__.replace("_", "-")] = builder
    return builder


def names() -> list[str]:
    """The names of the library's own encoders."""
    return list(_BUILDERS)


def build(name: str | nn.Module, *, size: int, channels: int, pretrained: bool = False) -> Encoder:
    """The encoder called `name`, for images of `size` pixels.

    Args:
        name: one of `names()`; `hf:NAME` or `timm:NAME`, a model of Transformers or timm (for the former also a local
            folder); or a module with a `dim` that maps images to [n, dim] or [n, dim, h, w].
        size: height and width of the images in pixels.
        channels: 1 for lightness, 3 for RGB.
        pretrained: start from published weights, which only `hf:NAME` and `timm:NAME` have.

    Raises:
        UsageError: there is no such encoder, or the images are too small for it.
    """
    from withhold.nets import adapters

    if isinstance(name, Encoder):
        return name
    if isinstance(name, nn.Module):
        return adapters.adapt(name, size, channels)
    source, _, rest = name.partition(":")
    if rest and source in adapters.SOURCES:
        return adapters.SOURCES[source](rest, size, channels, pretrained)
    if name not in _BUILDERS:
        raise UsageError(
            f"There is no encoder {name!r}: {suggestion(name, names())} Or name one of another library's, as hf:NAME "
            f"or timm:NAME."
        )
    if pretrained:
        raise UsageError(
            f"{name} has no published weights: leave pretrained out, or name a model that has, as hf:NAME."
        )
    built = _BUILDERS[name](size, channels)
    if size < built.stride:
        raise UsageError(f"Images of {size} pixels are too small for {name}: use {built.stride} or more.")
    return built
