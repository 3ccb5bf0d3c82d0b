"""The turns of players on a batch or on parts of it."""

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

    These rebuild the dictionaries passed to them, so what players hand on to each other is kept here as an attribute.
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method
        self.handed: dict[str, Any] = {}

    def forward(self, player: str, part: Batch) -> dict[str, Any]:
        return self.method.turn(player, part, self.handed)


def check(method: Method, batch_size: int, ranks: int, parts: int) -> None:
    """Check that `batch_size` items on each rank make `parts` equal parts, and enough for a loss that compares items.

    Raises:
        UsageError: they do not.
    """
    if method.compares and parts > 1:
        raise UsageError(
            f"{method.name} compares the items of a batch with each other, which --accumulate would separate. Remove "
            "--accumulate; if memory is short, lower --batch-size."
        )
    if method.compares and batch_size < 2:
        raise UsageError(
            f"{method.name} compares the items of a batch with each other. Give a --batch-size of 2 or more."
        )
    single = getattr(method.encoder, "grid", 0) == 1  # maps of one position are features
    normalised = (nn.BatchNorm1d, nn.BatchNorm2d) if single else nn.BatchNorm1d
    if batch_size <= parts and any(isinstance(part, normalised) for part in method.modules()):
        raise UsageError(
            f"{method.name} normalises features over a batch, or over its parts with --accumulate. Give a --batch-size "
            f"of {2 * parts} or more."
        )
    unit = parts * whole(method.order, 1)  # episodes stay whole
    if parts > 1 and batch_size % unit:
        raise UsageError(
            f"--accumulate {parts} cannot split a batch of {batch_size} items into equal parts. Give a --batch-size "
            f"that is a multiple of {unit}."
        )


def cut(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into `parts` smaller ones of the same size."""
    if parts == 1:
        return [batch]
    leaves, form = tree_flatten(batch)
    return [tree_unflatten(part, form) for part in zip(*(leaf.tensor_split(parts) for leaf in leaves), strict=True)]


@contextlib.contextmanager
def alone(player: str, optimizers: dict[str, torch.optim.Optimizer]) -> Iterator[None]:
    """Disable the gradients of the other players' parameters while `player` plays."""
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
