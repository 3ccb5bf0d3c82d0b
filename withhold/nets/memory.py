"""What a network remembers of earlier batches."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.losses import gather


class Queue(nn.Module):
    """The latest `size` keys of all ranks (He et al., CVPR 2020); random directions until it is full.

    Attributes:
        keys: float [size, dim], each of length 1.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put every rank's `keys` [n, dim] in the place of the oldest ones; normalised here."""
        size = len(self.keys)
        keys = F.normalize(gather(keys).to(self.keys.dtype), dim=1)[-size:]
        places = (self.position + torch.arange(len(keys), device=keys.device)) % size
        self.keys.index_copy_(0, places, keys)
        self.position.add_(len(keys)).remainder_(size)


class MemoryBank(nn.Module):
    """A slowly moving feature of every sample in the data (Wu et al., CVPR 2018; Misra & van der Maaten, CVPR 2020).

    Attributes:
        features: float [count, dim], each of length 1; random directions at the start.
    """

    features: Tensor

    def __init__(self, count: int, dim: int, momentum: float = 0.5):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("features", F.normalize(torch.randn(count, dim), dim=1))

    @torch.no_grad()
    def update(self, indices: Tensor, features: Tensor) -> None:
        """Move the features of the samples `indices` [n] of every rank towards `features` [n, dim]; normalised here."""
        indices, fresh = gather(indices), F.normalize(gather(features).to(self.features.dtype), dim=1)
        self.features[indices] = F.normalize(torch.lerp(fresh, self.features[indices], self.momentum), dim=1)
