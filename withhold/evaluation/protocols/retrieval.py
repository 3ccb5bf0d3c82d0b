"""Retrieval: every test item asks for the others of its class."""

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import kinds, nets
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.evaluation.task import Task

CHUNK = 2**22
"""Similarities at a time: 16 MB."""
MOST = 20_000
"""Training items that the whitening is learnt from."""
LEAST = 1e-5
"""Share of the largest variance below which a direction is left out of the whitening: it holds rounding errors."""


def average(maps: Tensor) -> Tensor:
    """Maps [n, d, h, w] -> their mean over places [n, d]."""
    return maps.mean((2, 3))


def mac(maps: Tensor) -> Tensor:
    """Maps [n, d, h, w] -> their maximum over places [n, d] (Tolias, Sicre & Jegou, ICLR 2016)."""
    return maps.amax((2, 3))


def rmac(maps: Tensor) -> Tensor:
    """Maps [n, d, g, g] -> the sum [n, d] of the maxima, of length 1 each, over squares (the same paper).

    Of squares 2g / (l + 1) wide (rounded down) there are l x l, evenly spread, for l = 1, 2, 3: 14 in all.
    """
    grid, found = maps.shape[3], []
    for level in (1, 2, 3):
        side = 2 * grid // (level + 1)
        corners = [i * (grid - side) // max(1, level - 1) for i in range(level if side else 0)]
        for top, left in itertools.product(corners, repeat=2):
            found.append(F.normalize(mac(maps[:, :, top : top + side, left : left + side]), dim=1))
    return torch.stack(found).sum(0)


def gem(maps: Tensor, power: float = 3.0) -> Tensor:
    """Maps [n, d, h, w] -> their power mean over places [n, d] (Radenovic, Tolias & Chum, TPAMI 2018, eq. 3).

    What is negative counts as zero: it suits maps that end in a ReLU.
    """
    return maps.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)


POOLINGS = {"average": average, "MAC": mac, "R-MAC": rmac, "GeM": gem}


def measure(task: Task) -> list[dict]:
    """The mean average precision of each pooling of the encoder's maps, plain and whitened, by cosine.

    What has no maps [n, d, h, w], which images have, is asked for by the encoder's features: the pooling "embedding".
    Beside it stand "recall_at_1", the share of queries whose nearest item is right, and "n_queries", because an item
    without another one of its class asks for nothing. The training items, without their labels, teach the whitening; it
    is applied to the whole descriptor, also of R-MAC, of which Tolias et al. whiten every region.
    """
    if task.truth.bincount().max() < 2:
        raise UsageError(
            f"No two items of {task.test.source} are of the same class, and retrieval asks one for the other: "
            "give it more items to test on."
        )
    some = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(task.seed))[:MOST]
    bank, queries = _descriptors(task, task.train.select(some)), _descriptors(task, task.test)
    rows = []
    for known, asked in zip(bank.unbind(1), queries.unbind(1), strict=True):
        mean, projection = whitening(known)
        for x in (asked, F.normalize((asked - mean) @ projection, dim=1)):
            precision, first = average_precision(x, task.truth)
            row = {"value": precision.nanmean().item(), "recall_at_1": first.nanmean().item()}
            rows.append({"metric": "mAP", **row, "n_queries": int(precision.isfinite().sum())})
    poolings = list(POOLINGS) if kinds.of(task.test.kind).maps else ["embedding"]
    if task.encoder is None:  # an image as a map of a single place, which every pooling leaves as it is
        rows *= len(poolings)
    names = itertools.product(poolings, (False, True))
    return [row | {"pooling": name, "whitened": white} for row, (name, white) in zip(rows, names, strict=True)]


def whitening(x: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors [n, d] -> mean [d] and projection [d, k] that give (x - mean) @ projection unit covariance.

    The k directions are the principal ones of x whose variance is not rounding; fewer than n.
    """
    mean = x.mean(0)
    centred = x - mean
    values, vectors = torch.linalg.eigh((centred.T @ centred / len(x)).double())
    kept = values > max(LEAST * values[-1], 1e-12)
    return mean, (vectors[:, kept] / values[kept].sqrt()).to(x.dtype)


def average_precision(x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The average precision of each item among the others, and whether the nearest is right: float [n] both.

    For each of the others of its class: of all that are at least as near, the share that is of the class; averaged.
    Ties count on both sides, as in scikit-learn, so that collapsed features are worth chance. An item alone in its
    class gets NaN.

    Args:
        x: descriptors [n, d] of length 1.
        classes: int64 [n].
    """
    found, first = x.new_full((len(x),), torch.nan), x.new_full((len(x),), torch.nan)
    labels, counts = classes.unique(return_counts=True)
    for members in ((classes == label).nonzero().squeeze(1) for label in labels[counts > 1]):
        for part in members.split(max(1, CHUNK // len(x))):
            similarity = x[part] @ x.T
            similarity[torch.arange(len(part)), part] = -torch.inf  # itself
            right = _sorted(similarity[:, members])[:, 1:].contiguous()
            nearer = len(x) - torch.searchsorted(_sorted(similarity), right)
            precision = (right.shape[1] - torch.searchsorted(right, right)) / nearer
            found[part] = precision.mean(1)
            first[part] = precision[:, -1] * (right[:, -1] >= similarity.amax(1))
    return found, first


def _sorted(rows: Tensor) -> Tensor:
    """Every row in ascending order; numpy is ten times as fast at it on a CPU as torch."""
    return torch.from_numpy(np.sort(rows.numpy(), axis=1)) if rows.device.type == "cpu" else rows.sort(1).values


def _descriptors(task: Task, samples: Samples) -> Tensor:
    """Float [n, p, d] on the task's device, of length 1: one a pooling; of raw data, and of what has no map, one."""
    if task.encoder is not None and kinds.of(samples.kind).maps:
        rows = nets.rows(task.encoder, lambda images: _pool(task.encoder.maps(images)), samples, task.device)
    else:
        rows = task.features(samples)[:, None]
    return F.normalize(rows, dim=2).to(task.device)


def _pool(maps: Tensor) -> Tensor:
    return torch.stack([pool(maps) for pool in POOLINGS.values()], dim=1)
