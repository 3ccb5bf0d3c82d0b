"""Keeping the best state of a training that starts from a pretrained encoder, which may become worse."""

import math
from pathlib import Path
from typing import Any

from withhold.methods import Method
from withhold.training import checkpoint
from withhold.training.journal import Row

PARTS = 4
"""The encoder is measured at the start and at the end of each of this many equal parts."""
MARGIN = 0.02
"""How much better than the last state an earlier one must be: accuracy on a few hundred items varies this much."""


class Best:
    """The state of a method with the best encoder, by k-NN accuracy on items whose labels the method is not given.

    It is for methods without labels: one that learns from a few labels must not depend on others. Without labelled
    items nothing is kept. The effective rank is no substitute: it may fall while the encoder improves.

    Args:
        path: the file of the state.
        began: the monitor's numbers of the encoder before the training.
    """

    def __init__(self, path: Path, began: Row):
        self.path, self.began = path, began
        saved: dict[str, Any] = checkpoint.load(path) if path.exists() else {"step": 0, "knn": -1.0}
        self.step, self.knn = saved["step"], saved["knn"]

    def due(self, step: int, steps: int) -> bool:
        """Whether a part of the training ends at `step`; this does not depend on the speed of the machine."""
        return "knn" in self.began and step % math.ceil(steps / PARTS) == 0

    def see(self, step: int, row: Row, method: Method) -> None:
        """Keep the state of `step` if the encoder is at least as good as before."""
        if row.get("knn", -2.0) >= self.knn:
            self.step, self.knn = step, row["knn"]
            checkpoint.save(self.path, {"step": step, "knn": self.knn, "method": method.state_dict()})

    def restore(self, method: Method, last: Row) -> int | None:
        """Restore the best state if that of the `last` row is clearly worse, and return its step; otherwise None."""
        if last.get("knn", math.inf) >= self.knn - MARGIN:
            return None
        method.load_state_dict(checkpoint.load(self.path)["method"])
        return self.step
