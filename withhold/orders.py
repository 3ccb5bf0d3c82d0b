"""The order of a stream's items in training: `order = {"images": Episodes()}` in a method's class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from withhold.errors import UsageError


class Shuffled:
    """Each item once, in random order.

    Attributes:
        by: what defines groups of items: "label", the name of a buffer of the method, int64 [n], or "" for no groups.
        unit: the batch size must be a multiple of it.
    """

    by: str = ""
    unit: int = 1

    def epoch(self, count: int, groups: Any, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `count` items, int64; `groups` int64 [n], -1 for none. With groups, `count` is whole batches."""
        return rng.permutation(count)


@dataclass(frozen=True)
class Balanced(Shuffled):
    """Equally many random items of each group: small groups are repeated, and items without a group are left out.

    Args:
        by: "label", or the name of a buffer of the method, such as the numbers of clusters that `prepare` finds.
    """

    by: str = "label"

    def epoch(self, count, groups, batch_size, rng):
        members = _members(groups)
        laps = -(-count // len(members))  # each lap has one item of every group
        orders = [[rng.permutation(rows) for _ in range(-(-laps // len(rows)))] for rows in members]
        drawn = np.stack([np.concatenate(rows)[:laps] for rows in orders])
        return rng.permuted(drawn, axis=0).T.reshape(-1)[:count]


@dataclass(frozen=True)
class Episodes(Shuffled):
    """Batches of few-shot episodes: `ways` random classes with `shots` and then `queries` items each, class by class.

    Args:
        ways: classes of an episode.
        shots: items of a class that are given with their label.
        queries: items of a class whose label is to be predicted.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 15
    by = "label"

    @property
    def unit(self):
        return self.ways * (self.shots + self.queries)

    def epoch(self, count, groups, batch_size, rng):
        each, size = self.shots + self.queries, self.unit
        members = [rows for rows in _members(groups) if len(rows) >= each]
        if len(members) < self.ways:
            raise UsageError(
                f"Episodes need {self.ways} classes with at least {each} items, but there are {len(members)}. Give "
                "more items, or fewer ways, shots or queries."
            )
        if batch_size % size:
            raise UsageError(
                f"A batch of {batch_size} items cannot hold whole episodes of {self.ways} classes with {each} items. "
                f"Give a batch size of {size} or a multiple of it."
            )
        chosen = [members[k] for _ in range(count // size) for k in rng.choice(len(members), self.ways, replace=False)]
        return np.concatenate([rng.choice(rows, each, replace=False) for rows in chosen])


@dataclass(frozen=True)
class Tuples(Shuffled):
    """Whole tuples of items that the method lists, in random order, each once before any is repeated.

    Args:
        by: the name of a buffer of the method, int64 [m, size], with the tuples.
        size: items of a tuple.
    """

    by: str = "tuples"
    size: int = 7

    @property
    def unit(self):
        return self.size

    def epoch(self, count, groups, batch_size, rng):
        if batch_size % self.size:
            raise UsageError(
                f"A batch of {batch_size} items cannot hold whole tuples of {self.size}. Give a batch size of "
                f"{self.size} or a multiple of it."
            )
        laps = [rng.permutation(groups) for _ in range(-(-count // groups.size))]
        return np.concatenate(laps).reshape(-1)[:count]


def whole(orders: Mapping[str, Shuffled], count: int) -> int:
    """Return the smallest batch size of at least `count` that suits all orders."""
    unit = math.lcm(*(order.unit for order in orders.values()))
    return -(-count // unit) * unit


def _members(groups: np.ndarray | None) -> list[np.ndarray]:
    """Return the items of each non-empty group. Raises: UsageError: there is no such group."""
    if groups is None or not (groups >= 0).any():
        raise UsageError("A stream is ordered by class, but none of its items has a label. Give labels.")
    order = np.argsort(groups, kind="stable")[(groups < 0).sum() :]
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
