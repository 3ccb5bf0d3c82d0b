"""Image descriptors: pooling of the feature maps of any stage of an encoder, and whitening."""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.errors import UsageError, suggestion
from withhold.nets.encoder import Encoder, ImageEncoder
from withhold.nets.features import frozen
from withhold.nets.stages import maps_at

LEAST = 1e-5
"""Share of the largest variance below which whitening drops a direction, since it holds only rounding errors."""


def average(maps: Tensor) -> Tensor:
    """Maps [n, d, h, w] -> their mean over places [n, d]."""
    return maps.mean((2, 3))


def mac(maps: Tensor) -> Tensor:
    """Maps [n, d, h, w] -> their maximum over places [n, d] (Tolias, Sicre & Jegou, ICLR 2016)."""
    return maps.amax((2, 3))


def rmac(maps: Tensor) -> Tensor:
    """Maps [n, d, g, g] -> the sum [n, d] of the maxima over squares, each normalised to length 1 (the same paper).

    For l = 1, 2, 3 there are l x l evenly spaced squares of width 2g / (l + 1), rounded down: 14 in all.
    """
    grid, found = maps.shape[3], []
    for level in (1, 2, 3):
        side = 2 * grid // (level + 1)
        corners = [i * (grid - side) // max(1, level - 1) for i in range(level if side else 0)]
        for top, left in itertools.product(corners, repeat=2):
            found.append(F.normalize(mac(maps[:, :, top : top + side, left : left + side]), dim=1))
    return torch.stack(found).sum(0)


def gem(maps: Tensor, power: float | Tensor = 3.0) -> Tensor:
    """Maps [n, d, h, w] -> their power mean over places [n, d] (Radenovic, Tolias & Chum, TPAMI 2018, eq. 3).

    Negative values count as zero, so it suits maps that end in a ReLU.
    """
    return maps.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)


POOLINGS = {"average": average, "MAC": mac, "R-MAC": rmac, "GeM": gem}


class Pooled(ImageEncoder):
    """An image encoder cut off at one of its stages: features [n, dim] are the pooled maps of that stage.

    Args:
        encoder: the image encoder; it is shared, not copied.
        stage: number of the stage in `encoder.stages()`, from 1; None for the encoder's own maps.
        pooling: one of `POOLINGS`; None for the mean.

    Raises:
        UsageError: it is not an encoder of images, has no such stage, or there is no such pooling.
    """

    def __init__(self, encoder: Encoder, stage: int | None = None, pooling: str | None = None):
        if not isinstance(encoder, ImageEncoder):
            raise UsageError(f"A stage and a pooling need an encoder of images; this one takes {encoder.kind} data.")
        if pooling is not None and pooling not in POOLINGS:
            raise UsageError(f"There is no pooling {pooling!r}: {suggestion(pooling, POOLINGS)}")
        with frozen(encoder):
            first = next(encoder.buffers())
            blank = torch.zeros(1, encoder.channels, encoder.size, encoder.size, device=first.device)
            maps = maps_at(encoder, blank, stage)
        super().__init__(maps.shape[1], encoder.channels, encoder.size, -(-encoder.size // maps.shape[2]))
        self.encoder, self.stage, self.pooling, self.learned = encoder, stage, pooling, encoder.learned

    def maps(self, images):
        return maps_at(self.encoder, images, self.stage)

    def forward(self, images):
        return super().forward(images) if images.ndim == 5 else POOLINGS[self.pooling or "average"](self.maps(images))

    def stages(self):
        return self.encoder.stages()[: self.stage]


def whitening(x: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors [n, d] -> mean [d] and projection [d, k] that give (x - mean) @ projection unit covariance.

    The k directions are the principal components of x whose variance is above rounding errors; k is below n.
    """
    mean = x.mean(0)
    centred = x - mean
    values, vectors = torch.linalg.eigh((centred.T @ centred / len(x)).double())
    kept = values > max(LEAST * values[-1], 1e-12)
    return mean, (vectors[:, kept] / values[kept].sqrt()).to(x.dtype)


def pair_whitening(x: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors [n, d] and matching pairs -> mean [d] and projection [d, d], by decreasing variance.

    In (x - mean) @ projection, the differences within pairs have unit covariance, and the directions are uncorrelated
    (Mikolajczyk & Matas, ICCV 2007, as in Radenovic, Tolias & Chum, TPAMI 2018, section 4.2). The covariance within
    pairs is estimated with shrinkage, for few pairs (Ledoit & Wolf, 2004); the paper regularises it instead.

    Args:
        first, second: rows of x, int64 [m] each.
    """
    from sklearn.covariance import ledoit_wolf

    mean = x.mean(0)
    centred, apart = (x - mean).double().cpu(), (x[first] - x[second]).double().cpu()
    within = torch.from_numpy(ledoit_wolf(apart.numpy(), assume_centered=True)[0])
    within.diagonal().add_(1e-12)
    inverse = torch.linalg.inv(torch.linalg.cholesky(within))
    _, vectors = torch.linalg.eigh(inverse @ (centred.T @ centred / len(x)) @ inverse.T)
    return mean, (inverse.T @ vectors.flip(1)).to(x)
