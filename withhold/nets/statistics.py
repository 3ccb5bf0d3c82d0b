"""Batch normalisation's running statistics."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def refresh_statistics(encoder: nn.Module, batches: Iterable[Tensor]) -> None:
    """Make the running statistics the plain average over `batches`, float [n, c, h, w] in [0, 1].

    Training on views leaves the statistics of views. Without batch normalisation, nothing happens.
    """
    norms = [module for module in encoder.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    modes = {module: module.training for module in encoder.modules()}
    momenta = [norm.momentum for norm in norms]
    encoder.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative average
        norm.train()
    try:
        for batch in batches:
            encoder(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
