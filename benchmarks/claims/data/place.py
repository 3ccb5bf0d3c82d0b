"""Where datasets are, and what a claim is trained and measured on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Place:
    """The root of the datasets, a folder for generated files, a seed, the share of training, and a peer's command."""

    root: Path
    folder: Path
    seed: int = 0
    share: float = 1.0
    peer: tuple[str, ...] = ()

    def some(self, count: int) -> int:
        """The number of items to generate where a claim generates `count`."""
        return max(100, round(self.share * count))


@dataclass(frozen=True)
class Split:
    """The training data, one per stream, and the evaluation data.

    Args:
        train, test: labelled items to train a probe and to test it, or what else a measure takes.
        settings: options of the training that depend on the data.
        shown: the data in the picture next to the result; by default the streams.
    """

    streams: tuple
    train: Any = None
    test: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    shown: tuple = ()


def draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The labels of `count` items, the same number per class, and -1 for all others."""
    rng, kept, classes = np.random.default_rng(seed), np.full(len(labels), -1), labels.max() + 1
    for number in range(classes):
        kept[rng.permutation(np.flatnonzero(labels == number))[: count // classes]] = number
    return kept
