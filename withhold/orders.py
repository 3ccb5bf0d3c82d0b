"""The order in which a method wants the items of a stream: `order = {"images": Episodes()}` in its class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from withhold.errors import UsageError


class Shuffled:
    """Each item once, at random.

    Attributes:
        by: what parts the items into groups: "label", the name of a buffer of the method, int64 [n], "" for nothing.
        unit: a batch has so many items, or a multiple of it.
    """

    by: str = ""
    unit: int = 1

    def epoch(self, count: int, groups: Any, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """`count` items, int64; `groups` int64 [n], -1 for none. By groups, these are whole batches."""
        return rng.permutation(count)


@dataclass(frozen=True)
class Balanced(Shuffled):
    """As many items of each group, at random; those of small groups come more often, those of none are left out.

    Args:
        by: "label", or the name of a buffer of the method, such as the numbers of clusters that `prepare` finds.
    """

    by: str = "label"

    def epoch(self, count, groups, batch_size, rng):
        members = _members(groups)
        laps = -(-count // len(members))  # each has one item of every group
        orders = [[rng.permutation(rows) for _ in range(-(-laps // len(rows)))] for rows in members]
        drawn = np.stack([np.concatenate(rows)[:laps] for rows in orders])
        return rng.permuted(drawn, axis=0).T.reshape(-1)[:count]


@dataclass(frozen=True)
class Episodes(Shuffled):
    """Batches of few-shot episodes: `ways` classes at random, of each `shots` and then `queries` items, class by class.

    Args:
        ways: classes of an episode.
        shots: items of a class that are shown with their label.
        queries: items of a class that are asked for.
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
                f"Episodes need {self.ways} classes of {each} items or more, and {len(members)} have as many: "
                "give more items, or fewer ways, shots or queries."
            )
        if batch_size % size:
            raise UsageError(
                f"A batch of {batch_size} items does not hold whole episodes of {self.ways} classes with {each} items: "
                f"give a batch size of {size} or a multiple of it."
            )
        chosen = [members[k] for _ in range(count // size) for k in rng.choice(len(members), self.ways, replace=False)]
        return np.concatenate([rng.choice(rows, each, replace=False) for rows in chosen])


@dataclass(frozen=True)
class Tuples(Shuffled):
    """Whole tuples of items as the method lists them, in random order, each once before one comes again.

    Args:
        by: the name of a buffer of the method, int64 [m, size], which holds items.
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
                f"A batch of {batch_size} items does not hold whole tuples of {self.size}: give a batch size of "
                f"{self.size} or a multiple of it."
            )
        laps = [rng.permutation(groups) for _ in range(-(-count // groups.size))]
        return np.concatenate(laps).reshape(-1)[:count]


def whole(orders: Mapping[str, Shuffled], count: int) -> int:
    """The smallest batch of `count` items or more that suits all orders."""
    unit = math.lcm(*(order.unit for order in orders.values()))
    return -(-count // unit) * unit


def _members(groups: np.ndarray | None) -> list[np.ndarray]:
    """The items of each group that has any. Raises: UsageError: none has."""
    if groups is None or not (groups >= 0).any():
        raise UsageError("A stream is to be ordered by classes, and none of its items has one: give labels.")
    order = np.argsort(groups, kind="stable")[(groups < 0).sum() :]
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
