"""Memories of earlier batches: queues, memory banks and image pools."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.losses import gather


class Queue(nn.Module):
    """The latest `size` keys of all ranks (He et al., CVPR 2020); random unit vectors until it is full.

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
        """Replace the oldest keys by the `keys` [n, dim] of every rank, which are normalised here."""
        size = len(self.keys)
        keys = F.normalize(gather(keys).to(self.keys.dtype), dim=1)[-size:]
        places = (self.position + torch.arange(len(keys), device=keys.device)) % size
        self.keys.index_copy_(0, places, keys)
        self.position.add_(len(keys))

    @property
    def full(self) -> bool:
        """Whether all random keys have been replaced."""
        return bool(self.position >= len(self.keys))


class MemoryBank(nn.Module):
    """A moving average of the features of every sample (Wu et al., CVPR 2018; Misra & van der Maaten, CVPR 2020).

    If `count` is the size of the dataset, a method creates an empty bank in its constructor and one of the right size
    in `prepare`.

    Attributes:
        features: float [count, dim], each of length 1; initially random.
    """

    features: Tensor

    def __init__(self, count: int, dim: int, momentum: float = 0.5):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("features", F.normalize(torch.randn(count, dim), dim=1))

    @torch.no_grad()
    def update(self, indices: Tensor, features: Tensor) -> None:
        """Move the stored features at `indices` [n], from all ranks, towards `features` [n, dim], normalised here."""
        indices, fresh = gather(indices), F.normalize(gather(features).to(self.features.dtype), dim=1)
        self.features[indices] = F.normalize(torch.lerp(fresh, self.features[indices], self.momentum), dim=1)


class ImagePool(nn.Module):
    """A history of up to `size` generated images, so that a discriminator does not forget earlier ones.

    Source: Shrivastava et al., CVPR 2017, section 2.3; as used by Zhu et al., ICCV 2017.

    Attributes:
        images: float [size, channels, side, side].
        filled: number of images in the pool.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, channels: int, side: int):
        super().__init__()
        self.register_buffer("images", torch.zeros(size, channels, side, side))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def swap(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Add images [n, c, h, w] to the pool, one after another -> the images to use instead of them [n, c, h, w].

        Until the pool is full, it stores every image and returns it. After that, with probability 1/2 it returns the
        image itself without storing it; otherwise it returns a random stored image, which the new one replaces.
        """
        size, n = len(self.images), len(images)
        place = self.filled + torch.arange(n, device=images.device)
        enters = place < size
        swapped = ~enters & (torch.rand(n, generator=rng, device=images.device) < 0.5)
        place = place.where(enters, torch.randint(size, (n,), generator=rng, device=images.device))
        known, order = torch.cat([self.images, images]), size + torch.arange(n, device=images.device)
        stays = (enters | swapped) * order
        # If several images take the same place, each returns the one before it, and the last one is stored.
        before = (place[:, None] == place) & (order[:, None] > order)
        found = known[(before * stays).amax(1).maximum(place)]
        self.images.copy_(known[torch.arange(size, device=images.device).scatter_reduce(0, place, stays, "amax")])
        self.filled.add_(n).clamp_(max=size)
        return torch.where(swapped[:, None, None, None], found, images)
