"""Trials: a method with an encoder and tiny data, ready for a check."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from withhold import methods as registry
from withhold import nets
from withhold.contract import tiny
from withhold.data import Feeder, Samples
from withhold.errors import WithholdError
from withhold.methods import Method
from withhold.orders import whole
from withhold.runs.build import build_method, choose, kinds, load_streams, make_tokenizer, tell
from withhold.training import defaults, prepare

CPU = torch.device("cpu")


def require(condition: Any, sentence: str) -> None:
    """Raise a WithholdError with this sentence if the condition does not hold."""
    if not condition:
        raise WithholdError(sentence)


def turns(method: Method, batch: dict[str, Any], seed: int = 0) -> dict[str, dict[str, Any]]:
    """The loss terms of each player on a batch."""
    method.seed(seed)
    handed: dict[str, Any] = {}
    return {player: method.turn(player, batch, handed) for player in method.players()}


@dataclass
class Trial:
    """A method with its default encoder for a CPU and tiny data for each stream.

    Args:
        values: the method's parameters; others have their defaults.
        size, channels: of images and of video frames.
        sources: data to use instead of tiny data, one source for each stream.
        kind: the kind of tiny data for streams that accept several; "" means the first.
    """

    cls: type[Method]
    values: dict[str, Any] = field(default_factory=dict)
    size: int = 32
    channels: int = 3
    sources: tuple[Any, ...] = ()
    kind: str = ""

    @property
    def chosen(self) -> dict[str, str]:
        """The kind of data of each stream that accepts the kind set here."""
        return {stream: self.kind for stream, need in self.cls.needs.items() if self.kind in need.kinds}

    @cached_property
    def parameters(self) -> dict[str, Any]:
        return registry.configure(self.cls, self.values)

    @property
    def default(self) -> str:
        """The name of the default encoder."""
        return defaults.encoder(self.cls, CPU, next(iter(kinds(self.cls, {"kinds": self.chosen}).values())))

    @cached_property
    def made(self) -> tuple[dict[str, Any], dict[str, Samples]]:
        """The encoder's configuration, as a run records it, and the streams."""
        if self.sources:
            encoder, decoding = choose(self.cls, self.sources, self.parameters, self.default, self.size)
            if "tokenizer" in decoding:
                make_tokenizer(self.cls, self.sources, encoder, decoding, Path(tiny.folder().name))
            return encoder, load_streams(self.cls, self.sources, decoding)
        known = tiny.WINDOWS | self.parameters
        known |= {"size": self.size, "channels": self.cls.channels or self.channels, "rate": tiny.RATE}
        encoder = {name: known[name] for name in nets.takes(self.default)}
        if "tokenizer" in encoder:
            encoder["tokenizer"] = tiny.tokenizer(encoder["tokenizer"])
        streams = {
            stream: tiny.stream(
                need, self.parameters, self.size, self.channels, self.chosen.get(stream, ""), self.cls.order.get(stream)
            )
            for stream, need in self.cls.needs.items()
        }
        return encoder | {"name": self.default, "pretrained": False}, streams

    def make(self) -> Method:
        """Build the method, always with the same initial weights."""
        return build_method(self.cls, self.made[0], self.values, 0, tell(self.cls, self.made[1], self.values))

    def feed(self, method: Method, batch_size: int = 32, feeder: type[Feeder] = Feeder) -> Feeder:
        """A feeder of batches of this size, or of the next larger size that the orders of the streams need."""
        orders, count = self.cls.order, whole(self.cls.order, batch_size)
        return feeder(self.made[1], self.cls.needs, count, 0, orders=orders, groups=method.get_buffer)

    def prepared(self, batch_size: int = 32) -> tuple[Method, dict[str, Any]]:
        """The method after `prepare`, and its first batch."""
        method = self.make()
        feeder = self.feed(method, batch_size)
        prepare(method, feeder.streams, 0)
        return method, feeder.batch(0)

    def losses(self, batch_size: int = 32, seed: int = 0) -> list[float]:
        """The loss of each player on a batch. Raises: WithholdError, if one is not finite."""
        method, batch = self.prepared(batch_size)
        losses = [terms["loss"].item() for terms in turns(method, batch, seed).values()]
        require(all(map(math.isfinite, losses)), f"The loss must be finite; on a batch of {batch_size} it is {losses}.")
        return losses
