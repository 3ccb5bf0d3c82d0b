"""How players take their turns on a batch, or on the parts of it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from withhold.errors import UsageError
from withhold.methods import Batch, Method
from withhold.orders import whole


class Turn(nn.Module):
    """A player's turn as a forward pass, for Fabric and DDP to wrap.

    They rebuild the dictionaries that they are given, so what the players hand on is kept here, out of their sight.
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method
        self.handed: dict[str, Any] = {}

    def forward(self, player: str, part: Batch) -> dict[str, Any]:
        return self.method.turn(player, part, self.handed)


def check(method: Method, batch_size: int, ranks: int, parts: int) -> None:
    """See that `batch_size` items on each rank make `parts` equal parts, and enough to compare where a loss does that.

    Raises:
        UsageError: they do not.
    """
    if method.compares and parts > 1:
        raise UsageError(
            f"{method.name} compares the items of a batch with each other, and --accumulate would cut it into parts "
            "that do not meet: leave --accumulate out, and lower --batch-size where memory is short."
        )
    if method.compares and batch_size < 2:
        raise UsageError(
            f"{method.name} compares the items of a batch with each other: give a --batch-size of 2 or more."
        )
    if batch_size <= parts and any(isinstance(part, nn.BatchNorm1d) for part in method.modules()):
        raise UsageError(
            f"{method.name} normalises features over a batch, or the part of it that --accumulate leaves: give a "
            f"--batch-size of {2 * parts} or more."
        )
    unit = parts * whole(method.order, 1)  # episodes stay whole
    if parts > 1 and batch_size % unit:
        raise UsageError(
            f"--accumulate {parts} cannot cut a batch of {batch_size} items into equal parts: "
            f"give a --batch-size that is a multiple of {unit}."
        )


def cut(batch: Batch, parts: int) -> list[Batch]:
    """A batch as `parts` smaller ones of the same size."""
    if parts == 1:
        return [batch]
    leaves, form = tree_flatten(batch)
    return [tree_unflatten(part, form) for part in zip(*(leaf.tensor_split(parts) for leaf in leaves), strict=True)]


@contextlib.contextmanager
def alone(player: str, optimizers: dict[str, torch.optim.Optimizer]) -> Iterator[None]:
    """While `player` plays, the other players' parameters take no gradient."""
    mine = {id(p) for group in optimizers[player].param_groups for p in group["params"]}
    others = [
        p for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]
        if id(p) not in mine
    ]  # fmt: skip
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
