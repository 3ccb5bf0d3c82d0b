"""Retrieval: every test item is a query for the others of its class."""

from collections.abc import Sequence

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
"""The most training items for the whitening."""


def measure(task: Task) -> list[dict]:
    """The mean average precision of each pooling of the encoder's maps, plain and whitened, by cosine.

    If a pooling is chosen, only that one is measured. Data without maps [n, d, h, w] use the encoder's features, as the
    pooling "embedding". A method with a "descriptor" is measured by that as well.

    "recall_at_1" is the share of queries whose nearest item is right. "n_queries" counts the queries: an item without
    another one of its class is not a query. The whitening is fitted on the training items without their labels. It is
    applied to the whole descriptor, also for R-MAC, where Tolias et al. whiten every region.
    """
    if task.truth.bincount().max() < 2:
        raise UsageError(
            f"No two items of {task.test.source} have the same class, which retrieval needs. Give it more test items."
        )
    some = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(task.seed))[:MOST]
    poolings = (
        [task.pooling] if task.pooling else list(nets.POOLINGS) if kinds.of(task.test.kind).maps else ["embedding"]
    )
    known, asked = (_descriptors(task, part, poolings) for part in (task.train.select(some), task.test))
    rows = []
    for name in poolings:
        mean, projection = nets.whitening(known[name])
        for white, x in enumerate((asked[name], F.normalize((asked[name] - mean) @ projection, dim=1))):
            rows.append({**_measured(x, task.truth), "pooling": name, "whitened": bool(white)})
    own = task.said("descriptor", task.test)
    return rows if own is None else [*rows, {**_measured(own.to(task.device), task.truth), "pooling": "descriptor"}]


def _measured(x: Tensor, classes: Tensor) -> dict:
    precision, first = average_precision(x, classes)
    value, recall = precision.nanmean().item(), first.nanmean().item()
    return {"metric": "mAP", "value": value, "recall_at_1": recall, "n_queries": int(precision.isfinite().sum())}


def average_precision(x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The average precision of each item among the others, and whether the nearest is right: float [n] both.

    For each other item of its class, this is the share of the class among all items that are at least as near,
    averaged. Ties count on both sides, as in scikit-learn, so that collapsed features give chance level. An item alone
    in its class gets NaN.

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
    """Sort every row in ascending order; on a CPU, numpy is ten times as fast as torch."""
    return torch.from_numpy(np.sort(rows.numpy(), axis=1)) if rows.device.type == "cpu" else rows.sort(1).values


def _descriptors(task: Task, samples: Samples, poolings: Sequence[str]) -> dict[str, Tensor]:
    """Descriptors of each pooling, float [n, d] of length 1 on the task's device; for raw items they are all equal."""
    if task.encoder is None or poolings == ["embedding"]:
        return dict.fromkeys(poolings, F.normalize(task.features(samples), dim=1))

    def pool(images: Tensor) -> Tensor:
        maps = task.encoder.maps(images)
        return torch.stack([nets.POOLINGS[name](maps) for name in poolings], dim=1)

    rows = F.normalize(nets.rows(task.encoder, pool, samples, task.device), dim=2).to(task.device)
    return dict(zip(poolings, rows.unbind(1), strict=True))
