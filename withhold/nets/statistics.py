"""Running statistics of batch normalisation."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class HeldStatistics(_BatchNorm):
    """Batch normalisation that uses its running statistics and never updates them, also in training mode."""

    def train(self, mode: bool = True):
        return super().train(False)


def hold_statistics(network: nn.Module) -> None:
    """Make every batch normalisation in `network` keep its running statistics, in place, with the same parameter names.

    A network trained on large batches of other data loses accuracy with the statistics of small batches: channels that
    hardly vary in them are scaled up to unit deviation.
    """
    for part in network.modules():
        if isinstance(part, _BatchNorm) and not isinstance(part, HeldStatistics):
            kind = type(part)
            part.__class__ = type(kind.__name__, (HeldStatistics, kind), {})
            part.eval()


@torch.no_grad()
def refresh_statistics(network: nn.Module, batches: Iterable[Any], forward: Callable[[Any], Any] | None = None) -> None:
    """Recompute the running statistics of `network` as the plain average over `batches` of network inputs.

    After training, the statistics are those of augmented views. Held statistics are kept. Without batch normalisation,
    this does nothing.

    Args:
        forward: runs the network on a batch, if it is only a part of the computation.
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
    before = [{name: held.clone() for name, held in norm.named_buffers()} for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # in torch, None means a cumulative average
        norm.train()
    try:
        for batch in batches:
            (forward or network)(batch)
    finally:
        for norm, momentum, held in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            if not norm.num_batches_tracked:  # the batches did not go through it
                norm.load_state_dict(held, strict=False)
        for module, mode in modes.items():
            module.training = mode
