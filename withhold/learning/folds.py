"""Repeated cross-validation on the labels that are given, and what it says of several routes."""

from collections.abc import Sequence

import numpy as np

Folds = list[list[tuple[np.ndarray, np.ndarray]]]
"""Of each repeat, and of each fold of it, the positions that are learned from and those that are held out."""
PARTS, REPEATS, LEAST = 5, 4, 3
"""Folds; how often they are drawn; items of each class that there have to be."""
Z = 1.96
EVEN = 1e-9
"""Of one item more or less, the mean is its own standard error: rounding is not to decide."""


def counted(labels: np.ndarray, owners: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
    """The classes among labels [n], and how many of each have an owner of their own: copies of an item count once."""
    return np.unique([label for label, _ in set(zip(labels.tolist(), owners, strict=True))], return_counts=True)


def fold(
    labels: np.ndarray, owners: Sequence[object], compared: np.ndarray, repeats: int = REPEATS, seed: int = 0
) -> Folds:
    """Stratified folds of items with labels [n], drawn `repeats` times: five, or as many as the smallest class has.

    Args:
        owners: what must not be torn apart has the same owner [n], such as copies of one photograph.
        compared: the positions that are held out once; the others are always learned from.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _, groups = np.unique(np.asarray(owners), return_inverse=True)
    others = np.setdiff1d(np.arange(len(labels)), compared)
    some, groups = labels[compared], groups[compared]
    parts = min(PARTS, *counted(some, groups.tolist())[1].tolist())
    drawn = [StratifiedGroupKFold(parts, shuffle=True, random_state=seed + repeat) for repeat in range(repeats)]
    return [
        [(np.append(compared[known], others), compared[held]) for known, held in one.split(some, some, groups)]
        for one in drawn
    ]


def interval(right: np.ndarray) -> tuple[float, float, float]:
    """Of what was right [repeats, n]: the mean, and the ends of its 95 % interval over the items (Wilson, JASA 1927).

    Repeats average a part of the variance away, as more items would.
    """
    items = right.mean(0)
    mean, count = items.mean(), len(items)
    spread = items.var(ddof=1)
    count = max(count, mean * (1 - mean) / spread * count) if spread > 0 else count
    whole, middle = 1 + Z**2 / count, mean + Z**2 / (2 * count)
    reach = Z * np.sqrt(mean * (1 - mean) / count + (Z / (2 * count)) ** 2)
    return float(mean), float((middle - reach) / whole), float((middle + reach) / whole)


def choose(right: Sequence[np.ndarray], costs: Sequence[int]) -> int:
    """The place of the cheapest route that is as good as the best one; of those that cost the same, of the best.

    As good is what is behind by no more than one standard error of the paired difference over the items, in the repeats
    that both have (Breiman, Friedman, Olshen & Stone, 1984, section 3.4.3).

    Args:
        right: of each route, what of the held-out items it named rightly [repeats, n].
        costs: the rank of each route by what it takes.
    """
    by_mean = sorted(range(len(right)), key=lambda place: -right[place].mean())
    for cost in sorted(set(costs)):
        place = next(place for place in by_mean if costs[place] == cost)
        shared = min(len(right[place]), len(right[by_mean[0]]))
        behind = right[by_mean[0]][:shared].mean(0) - right[place][:shared].mean(0)
        if place == by_mean[0] or behind.mean() <= (1 + EVEN) * behind.std(ddof=1) / np.sqrt(len(behind)):
            return place
    return by_mean[0]
