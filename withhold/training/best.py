"""The best of a training: going on from what has learned may also make it worse."""

import math
from pathlib import Path
from typing import Any

from withhold.methods import Method
from withhold.training import checkpoint
from withhold.training.journal import Row

PARTS = 4
"""A training is looked at as it begins, and at the end of so many equal parts."""
MARGIN = 0.02
"""How much better than the last an earlier state must be: chance moves an accuracy on a few hundred items as far."""


class Best:
    """The state of a method whose encoder was best by k-NN accuracy on items with labels that it is not told.

    Without such items nothing is kept. The effective rank is no substitute: it may fall while the encoder gets better.

    Args:
        path: the file that holds it.
        began: what was seen of the encoder before the training.
    """

    def __init__(self, path: Path, began: Row):
        self.path, self.began, self.last = path, began, began
        saved: dict[str, Any] = checkpoint.load(path) if path.exists() else {"step": 0, "knn": -1.0}
        self.step, self.knn = saved["step"], saved["knn"]

    def due(self, step: int, steps: int) -> bool:
        """Whether a part of the training ends at `step`: always at the same ones, however fast the machine is."""
        return "knn" in self.began and step % math.ceil(steps / PARTS) == 0

    def see(self, step: int, row: Row, method: Method) -> None:
        """Keep the state of `step`, where the encoder is no worse than at any before."""
        self.last = row
        if row.get("knn", -2.0) >= self.knn:
            self.step, self.knn = step, row["knn"]
            checkpoint.save(self.path, {"step": step, "knn": self.knn, "method": method.state_dict()})

    def restore(self, method: Method) -> int | None:
        """Put the best state back if the last one is clearly worse; gives the step that it is from."""
        if self.last.get("knn", math.inf) >= self.knn - MARGIN:
            return None
        method.load_state_dict(checkpoint.load(self.path)["method"])
        return self.step
