"""Episodes: few-shot classification among five classes at a time, which may be new to the encoder."""

import logging

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.console import counted
from withhold.errors import UsageError
from withhold.evaluation.task import Task
from withhold.orders import Episodes

log = logging.getLogger("withhold")

WAYS, SHOTS, QUERIES, COUNT = 5, (1, 5), 15, 1000
CHUNK = 2**22
"""The most feature values gathered at a time: 16 MB."""


def measure(task: Task) -> list[dict]:
    """The mean accuracy over 1,000 episodes of 5 classes with 1 and 5 shots and 15 queries a class, all of test items.

    The training items are not used, and every encoder gets the same episodes. "standard_error" is that of the mean over
    episodes of these items, as usual. The variation between other items or classes may be ten times as large, and the
    variation between training seeds is not included. Classes with too few items for an episode are left out. If fewer
    than five would remain, episodes have fewer queries ("n_queries"), and shots that leave no query are left out.
    """
    labels, sizes = task.truth.cpu().numpy(), task.truth.bincount().sort(descending=True).values.tolist()
    fifth = sizes[WAYS - 1] if len(sizes) >= WAYS else 0
    if fifth <= SHOTS[0]:
        raise UsageError(
            f"An episode needs {WAYS} classes with at least two items, but {task.test.source} has "
            f"{sum(size > 1 for size in sizes)}. Give it more classes, or more items of each."
        )
    features, rows = F.normalize(task.queries, dim=1), []
    for shots in (shots for shots in SHOTS if shots < fifth):
        queries = min(QUERIES, fifth - shots)
        if queries < QUERIES:
            log.warning(
                "episodes with %s per class have %s per class as queries, not %s: no five classes of %s have more",
                counted(shots, "shot"), counted(queries, "item"), QUERIES, task.test.source,
            )  # fmt: skip
        order = Episodes(WAYS, shots, queries)
        drawn = order.epoch(COUNT * order.unit, labels, order.unit, np.random.default_rng(task.seed))
        episodes = torch.from_numpy(drawn).view(COUNT, WAYS, shots + queries).to(task.device)
        step = max(1, CHUNK // (order.unit * features.shape[1]))
        right = torch.cat([accuracies(features[part], shots) for part in episodes.split(step)])
        spread, mean = torch.std_mean(right)
        row = {"metric": "accuracy", "value": mean.item(), "standard_error": spread.item() / COUNT**0.5}
        rows.append(row | {"chance": 1 / WAYS, "shots": shots, "n_queries": queries, "episodes": COUNT})
    return rows


def accuracies(features: Tensor, shots: int) -> Tensor:
    """The share of an episode's queries that are nearest to the prototype of their class, by cosine: float [e].

    A prototype is the mean feature of a class's shots (Snell, Swersky & Zemel, NIPS 2017); all features have length 1
    (Gidaris & Komodakis, CVPR 2018, section 3.2).

    Args:
        features: of length 1 [e, ways, shots + queries, d], the shots first.
    """
    shown, asked = features.split([shots, features.shape[2] - shots], 2)
    prototypes = F.normalize(shown.mean(2), dim=2)
    found = (asked.flatten(1, 2) @ prototypes.transpose(1, 2)).argmax(2).view(asked.shape[:3])
    truth = torch.arange(features.shape[1], device=features.device)[:, None]
    return (found == truth).float().mean((1, 2))
