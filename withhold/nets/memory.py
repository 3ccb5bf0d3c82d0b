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
        self.position.add_(len(keys))

    @property
    def full(self) -> bool:
        """Whether all random directions are replaced."""
        return bool(self.position >= len(self.keys))


class MemoryBank(nn.Module):
    """A slowly moving feature of every sample in the data (Wu et al., CVPR 2018; Misra & van der Maaten, CVPR 2020).

    Where `count` is the data's, a method's constructor makes an empty one, and its `prepare` one of the right length.

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


class ImagePool(nn.Module):
    """Up to `size` images that were made earlier, so that a discriminator does not forget what it has seen through.

    Source: Shrivastava et al., CVPR 2017, section 2.3; as Zhu et al., ICCV 2017, use it.

    Attributes:
        images: float [size, channels, side, side].
        filled: how many of them there are.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, channels: int, side: int):
        super().__init__()
        self.register_buffer("images", torch.zeros(size, channels, side, side))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def swap(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Give images [n, c, h, w] to the pool, one after another -> what to show in their place [n, c, h, w].

        Until the pool is full it keeps each one and gives it back. Then it gives back half of them, and for the others
        a random image of its own, whose place they take.
        """
        size, n = len(self.images), len(images)
        place = self.filled + torch.arange(n, device=images.device)
        enters = place < size
        swapped = ~enters & (torch.rand(n, generator=rng, device=images.device) < 0.5)
        place = place.where(enters, torch.randint(size, (n,), generator=rng, device=images.device))
        known, order = torch.cat([self.images, images]), size + torch.arange(n, device=images.device)
        stays = (enters | swapped) * order
        # Of several that take the same place, each finds the one before it, and the last one stays.
        before = (place[:, None] == place) & (order[:, None] > order)
        found = known[(before * stays).amax(1).maximum(place)]
        self.images.copy_(known[torch.arange(size, device=images.device).scatter_reduce(0, place, stays, "amax")])
        self.filled.add_(n).clamp_(max=size)
        return torch.where(swapped[:, None, None, None], found, images)
