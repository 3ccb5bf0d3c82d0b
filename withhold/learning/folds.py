"""Repeated cross-validation on the given labels, and the choice between routes."""

from collections.abc import Sequence

import numpy as np

from withhold.evaluation.table import wilson

Folds = list[list[tuple[np.ndarray, np.ndarray]]]
"""For each repeat and each fold: the training positions and the held-out positions."""
PARTS, REPEATS, LEAST = 5, 4, 3
"""Folds; repeats; fewest items of each class."""
EVEN = 1e-9
"""Relative tolerance: if one item differs, the mean difference equals its standard error up to rounding."""


def counted(
    labels: np.ndarray, owners: Sequence[object], new: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The classes among labels [n], and the number of items of each; items of one owner (copies) count once.

    Args:
        new: which items to count, bool [n]; all if None.
    """
    counts = dict.fromkeys(labels.tolist(), 0)
    kept = np.ones(len(labels), dtype=bool) if new is None else new
    for label, _ in {(label, owner) for label, owner, one in zip(labels.tolist(), owners, kept, strict=True) if one}:
        counts[label] += 1
    numbers = sorted(counts)
    return np.array(numbers), np.array([counts[number] for number in numbers])


def fold(
    labels: np.ndarray, owners: Sequence[object], compared: np.ndarray, repeats: int = REPEATS, seed: int = 0
) -> Folds:
    """Stratified folds of items with labels [n], drawn `repeats` times: five, or the size of the smallest class.

    Args:
        owners: group of each item [n]; items of one group, such as copies of a photograph, are in the same fold. Of
            copies with the same label only the first is held out, so that they count once; the others are left out.
        compared: positions that are each held out once; the others are always training items.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _, groups = np.unique(np.asarray(owners), return_inverse=True)
    others = np.setdiff1d(np.arange(len(labels)), compared)
    some, groups = labels[compared], groups[compared]
    parts = min(PARTS, *counted(some, groups.tolist())[1].tolist())
    firsts = compared[np.unique(np.stack([groups, some]), axis=1, return_index=True)[1]]
    drawn = [StratifiedGroupKFold(parts, shuffle=True, random_state=seed + repeat) for repeat in range(repeats)]
    return [
        [
            (np.append(compared[known], others), np.intersect1d(compared[held], firsts))
            for known, held in one.split(some, some, groups)
        ]
        for one in drawn
    ]


def held_out(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The positions that the folds of one repeat hold out, in order."""
    return np.sort(np.concatenate([held for _, held in parts]))


def interval(right: np.ndarray) -> tuple[float, float, float]:
    """Accuracy and the ends of its 95 % interval over items (Wilson, JASA 1927), from correctness [repeats, n].

    Repeats reduce the variance as more items would.
    """
    items = right.mean(0)
    mean, count = items.mean(), len(items)
    spread = items.var(ddof=1)
    count = max(count, mean * (1 - mean) / spread * count) if spread > 0 else count
    low, high = wilson(mean, count)
    return float(mean), float(low), float(high)


def choose(right: Sequence[np.ndarray]) -> int:
    """Index of the first route that is as good as the best one.

    A route is as good if it is behind by at most one standard error of the paired difference over items, in the repeats
    that both have (Breiman, Friedman, Olshen & Stone, 1984, section 3.4.3).

    Args:
        right: for each route, which held-out items it classified correctly [repeats, n].
    """
    best = max(range(len(right)), key=lambda place: right[place].mean())
    for place in range(best):
        shared = min(len(right[place]), len(right[best]))
        behind = right[best][:shared].mean(0) - right[place][:shared].mean(0)
        if behind.mean() <= (1 + EVEN) * behind.std(ddof=1) / np.sqrt(len(behind)):
            return place
    return best
