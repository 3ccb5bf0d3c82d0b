"""Where data sets are, and what a claim is trained and measured on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Place:
    """Where data sets are, a folder for what is made, a seed, how much is trained, and a peer's command."""

    root: Path
    folder: Path
    seed: int = 0
    share: float = 1.0
    peer: tuple[str, ...] = ()

    def some(self, count: int) -> int:
        """How many items to make, where a claim makes `count`."""
        return max(100, round(self.share * count))


@dataclass(frozen=True)
class Split:
    """What is trained on, one for each stream; and what is measured on.

    Args:
        train, test: labelled items, to teach a probe and to be named; or what else a measure takes.
        settings: options of the training that follow from the data.
        shown: what the picture beside the result is of; by default the streams.
    """

    streams: tuple
    train: Any = None
    test: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    shown: tuple = ()


def draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The labels of `count` items, as many of each class, and -1 for all others."""
    rng, kept, classes = np.random.default_rng(seed), np.full(len(labels), -1), labels.max() + 1
    for number in range(classes):
        kept[rng.permutation(np.flatnonzero(labels == number))[: count // classes]] = number
    return kept
