"""What a run is made of: the encoder that suits, the streams, the method around them."""

from collections.abc import Sequence
from typing import Any

import torch

from withhold import data, nets
from withhold import methods as registry
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.methods import Encoder, Method
from withhold.training import defaults


def choose_encoder(
    cls: type[Method], sources: Sequence[Any], name: str | None, size: int | None, pretrained: bool = False
) -> dict[str, Any]:
    """What describes the encoder in a run's configuration: what is None suits the method, the data and the hardware.

    All streams have the size of the largest images, and colour if one of them has.

    Raises:
        UsageError: not one source for each stream.
    """
    if len(sources) != len(cls.needs):
        wanted = ", ".join(f"{stream} ({kind})" for stream, kind in cls.needs.items())
        raise UsageError(f"{cls.name} learns from {len(cls.needs)} stream(s), {wanted}, but {len(sources)} were given.")
    shapes = [data.measure(source) for source in sources]
    channels = max(shape.channels for shape in shapes)
    return {
        "name": name or defaults.encoder(cls, defaults.device()),
        "size": size or defaults.size(max(shape.size for shape in shapes), defaults.device()),
        "channels": cls.channels or channels,
        "data_channels": channels,
        "pretrained": pretrained,
    }


def load_streams(
    cls: type[Method],
    sources: Sequence[Any],
    encoder: dict[str, Any],
    *,
    labels: str | None = None,
    strict: bool = False,
) -> dict[str, Samples]:
    """The method's streams, decoded as `encoder` says; `labels` belong to those that are to be labelled, if any are."""
    taught = [stream for stream, need in cls.needs.items() if need.startswith("labelled")] or list(cls.needs)
    return {
        stream: data.load(
            source, size=encoder["size"], channels=encoder["data_channels"], strict=strict,
            labels=labels if stream in taught else None,
        )
        for stream, source in zip(cls.needs, sources, strict=True)
    }  # fmt: skip


def build_encoder(config: dict[str, Any], seed: int) -> Encoder:
    """The encoder that a run's configuration describes, with weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nets.build(
            config["name"], size=config["size"], channels=config["channels"], pretrained=config["pretrained"]
        )


def build_method(
    cls: type[Method], encoder: dict[str, Any], parameters: dict[str, Any], seed: int, classes: Sequence[str]
) -> Method:
    """The method around the encoder that `encoder` describes, with weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        learner = build_encoder(encoder, seed)
        torch.manual_seed(seed)
        return registry.build(cls, learner, parameters, classes)


def classes_of(cls: type[Method], streams: dict[str, Samples]) -> tuple[str, ...]:
    """The names of the classes in the stream that the method takes labels from, else in its first one.

    Raises:
        UsageError: the labels that it needs are missing.
    """
    for stream, need in cls.needs.items():
        if need.startswith("labelled"):
            return streams[stream].labelled(f"the stream {stream}").classes
    return next(iter(streams.values())).classes
