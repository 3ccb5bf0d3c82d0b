"""Encoders by name."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from withhold.errors import UsageError, suggestion
from withhold.nets.encoder import Encoder

Builder = Callable[..., Encoder]

_BUILDERS: dict[str, Builder] = {}


def register(builder: Builder) -> Builder:
    """Declare a function as the builder of an encoder of the library; its name is the function's, with hyphens.

    Its arguments are what the encoder must know of its input: (size, channels) of images; and `pretrained`, where
    there are published weights.
    """
    _BUILDERS[builder.__name__.replace("_", "-")] = builder
    return builder


def names() -> list[str]:
    """The names of the library's own encoders."""
    return list(_BUILDERS)


def takes(name: str) -> tuple[str, ...]:
    """What the encoder called `name` must know of its input: ("size", "channels") of images.

    Raises:
        UsageError: there is no such encoder.
    """
    from withhold.nets import adapters

    source, _, rest = name.partition(":")
    if rest and source in adapters.SOURCES:
        return ("size", "channels")
    if name not in _BUILDERS:
        raise UsageError(
            f"There is no encoder {name!r}: {suggestion(name, names())} Or name one of another library's, as hf:NAME "
            f"or timm:NAME."
        )
    return tuple(field for field in inspect.signature(_BUILDERS[name]).parameters if field != "pretrained")


def build(name: str | nn.Module, *, pretrained: bool = False, **inputs: Any) -> Encoder:
    """The encoder called `name`, for inputs of a certain kind.

    Args:
        name: one of `names()`; `hf:NAME` or `timm:NAME`, a model of Transformers or timm (for the former also a local
            folder); or a module with a `dim` that maps images to [n, dim] or [n, dim, h, w].
        pretrained: start from published weights, which `efficientnet-lite0`, `hf:NAME` and `timm:NAME` have.
        inputs: what `takes(name)` lists: of images size, their height and width in pixels, and channels, 1 for
            lightness, 3 for RGB.

    Raises:
        UsageError: there is no such encoder, or the images are too small for it.
    """
    from withhold.nets import adapters

    if isinstance(name, Encoder):
        return name
    if isinstance(name, nn.Module):
        return adapters.adapt(name, **inputs)
    lacking = [field for field in takes(name) if field not in inputs]
    if lacking:
        raise UsageError(
            f"{name} is an encoder for other data: these have no {' and no '.join(lacking)}. Leave --encoder out, and "
            "the method takes its default."
        )
    source, _, rest = name.partition(":")
    if rest:
        return adapters.SOURCES[source](rest, pretrained=pretrained, **inputs)
    if pretrained:
        if "pretrained" not in inspect.signature(_BUILDERS[name]).parameters:
            raise UsageError(
                f"{name} has no published weights: leave pretrained out, or take efficientnet-lite0 or a model hf:NAME."
            )
        inputs["pretrained"] = True
    built = _BUILDERS[name](**inputs)
    if "size" in inputs and inputs["size"] < built.stride:
        raise UsageError(f"Images of {inputs['size']} pixels are too small for {name}: use {built.stride} or more.")
    return built
