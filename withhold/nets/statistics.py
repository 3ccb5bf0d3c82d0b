"""Batch normalisation's running statistics."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class HeldStatistics(_BatchNorm):
    """Batch normalisation that always takes the statistics that it has, also in training mode."""

    def train(self, mode: bool = True):
        return super().train(False)


def hold_statistics(network: nn.Module) -> None:
    """Let every batch normalisation inside `network` keep its statistics, in place; parameters and their names stay.

    What has learned on large batches of other data loses much by the statistics of a few items: channels that hardly
    vary there are scaled up to the deviation of all others.
    """
    for part in network.modules():
        if isinstance(part, _BatchNorm) and not isinstance(part, HeldStatistics):
            kind = type(part)
            part.__class__ = type(kind.__name__, (HeldStatistics, kind), {})
            part.eval()


@torch.no_grad()
def refresh_statistics(
    network: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any], Any] | None = None,
    kept: Collection[nn.Module] = (),
) -> None:
    """Make the running statistics of `network` the plain average over `batches`, as networks take them.

    Training on views leaves the statistics of views. Those that are held stay; without batch normalisation, nothing
    happens.

    Args:
        forward: how a batch comes to the network, where it is only a part of what runs.
        kept: modules that stay as they are.
    """
    norms = [
        part
        for part in network.modules()
        if isinstance(part, _BatchNorm) and part.track_running_stats and not isinstance(part, HeldStatistics)
    ]
    if not norms:
        return
    modes = {module: module.training for module in network.modules()}
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative average
        norm.train()
    try:
        for batch in batches:
            (forward or network)(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
