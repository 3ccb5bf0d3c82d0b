"""Values besides the label: a class or numbers for each item."""

import hashlib
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

DIFFERENT = 0.9  # if the share of different classes among items exceeds this, the classes identify the items
FILE = re.compile(r".*\w\.[a-zA-Z]\w{1,4}")  # the name of a file


@dataclass(frozen=True)
class Target:
    """A value for each item: class numbers int64 [n], -1 where unknown; or float32 [n, ...], NaN where unknown."""

    values: np.ndarray
    classes: tuple[str, ...] | None = None  # their names; None for numbers

    @property
    def known(self) -> np.ndarray:
        """Where there is a value, bool [n, ...]."""
        return np.isfinite(self.values) if self.classes is None else self.values >= 0

    @property
    def names_items(self) -> bool:
        """Whether the classes only identify the items: (almost) all are different, or they are file names."""
        if not self.classes:
            return False
        found = self.values[self.known]
        return len(np.unique(found)) > DIFFERENT * len(found) or all(map(FILE.fullmatch, self.classes))

    @property
    def fingerprint(self) -> str:
        return hashlib.blake2b(self.values.tobytes() + repr(self.classes).encode(), digest_size=16).hexdigest()

    def select(self, indices: np.ndarray) -> "Target":
        """The values at `indices`."""
        return Target(self.values[indices], self.classes)

    def batch(self, indices: np.ndarray) -> Tensor:
        """The values at `indices` as a tensor."""
        return torch.from_numpy(self.values[indices])
