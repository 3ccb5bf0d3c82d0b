"""Images that do not fit into the cache: they are decoded whenever they are read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from withhold.data.images import Images
from withhold.data.kind import Table, Unreadable
from withhold.errors import WithholdError


class Stream:
    """Indexed like an array uint8 [n, size, size, channels]; `kind` decodes the requested rows in a pool of threads.

    Samples that cannot be decoded are added to `skipped`; with `strict`, they raise WithholdError. `Samples.settled`
    replaces them.
    """

    def __init__(self, table: Table, kind: Images, strict: bool, names: Sequence[str] | None = None):
        self.shape = (len(table), *kind.row)
        self.table, self.kind, self.strict = table, kind, strict
        self.names = np.array(table.names() if names is None else names)
        self.bad: dict[int, str] = {}
        self.good = np.zeros(len(table), dtype=bool)
        self.held: dict[int, np.ndarray] = {}
        self.skipped: list[tuple[str, str]] = []
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Raises: Unreadable: a sample cannot be decoded (any more)."""
        held, self.held = self.held, {}
        outcomes = held | self._decode([index for index in indices.tolist() if index not in held])
        images = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)
        for row, index in enumerate(indices.tolist()):
            outcome = outcomes[index]
            if isinstance(outcome, Unreadable):
                self.good[:] = False  # it could be decoded before, so others may have disappeared, too
                self._keep(outcomes)
                raise outcome
            images[row] = outcome
        return images

    def readable(self, indices: np.ndarray) -> np.ndarray:
        """Whether each of these samples can be decoded, bool [m]; newly decoded ones are kept for the next read."""
        new = [index for index in indices.tolist() if not self.good[index] and index not in self.bad]
        self._keep(self._decode(new))
        return self.good[indices]

    def check(self, indices: np.ndarray) -> None:
        """Find out which of these samples can be decoded, without keeping them."""
        for some in np.array_split(indices, len(indices) // 256 + 1):
            self.readable(some)
            self.held = {}

    def decoded(self, indices: np.ndarray) -> list[np.ndarray]:
        """Those of these samples that can be decoded; nothing is remembered of the others."""
        return [found for found in self._decode(indices.tolist()).values() if not isinstance(found, Unreadable)]

    def _decode(self, indices: list[int]) -> dict[int, np.ndarray | Unreadable]:
        items = self.table.items(indices) if indices else []
        return dict(zip(indices, self.pool.map(self.kind.attempt, items), strict=True))

    def _keep(self, outcomes: dict[int, np.ndarray | Unreadable]) -> None:
        """Keep decoded samples for the next read, and note which ones can be decoded."""
        for index, outcome in outcomes.items():
            if not isinstance(outcome, Unreadable):
                self.good[index], self.held[index] = True, outcome
            elif self.strict:
                raise WithholdError(f"{self.names[index]} cannot be read: {outcome}.")
            elif index not in self.bad:
                self.bad[index] = str(outcome)
                self.skipped.append((str(self.names[index]), str(outcome)))
