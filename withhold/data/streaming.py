"""Images that do not fit into the cache: they are decoded whenever they are read."""

import copy
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from withhold.data.images import Images
from withhold.data.kind import Table, Unreadable
from withhold.errors import WithholdError


class Stream:
    """Indexed like an array uint8 [n, size, size, channels]; `kind` decodes the requested rows in a pool of threads.

    A sample that cannot be decoded is replaced by the next one that can, with the same label if there are labels, and
    added to `skipped`; with `strict`, it raises WithholdError. For samples with parts, `readable` is checked first: see
    `Samples.settled`.
    """

    def __init__(self, table: Table, kind: Images, labels: np.ndarray | None, strict: bool):
        self.shape = (len(table), *kind.row)
        self.table, self.kind, self.labels, self.strict = table, kind, labels, strict
        self.names = np.array(table.names())
        self.bad: dict[int, str] = {}
        self.good = np.zeros(len(table), dtype=bool)
        self.held: dict[int, np.ndarray | Unreadable] = {}
        self.skipped: list[tuple[str, str]] = []
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        held = self.held
        outcomes = held | self._decode([index for index in indices.tolist() if index not in held])
        images = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)
        for row, index in enumerate(indices.tolist()):
            outcome = outcomes[index]
            if isinstance(outcome, Unreadable):
                self._skip(index, outcome)
                outcome = self._neighbour(index)
            images[row] = outcome
        return images

    def readable(self, indices: np.ndarray) -> np.ndarray:
        """Whether each of these samples can be decoded, bool [m]; newly decoded ones are kept for the next read."""
        new = [index for index in indices.tolist() if not self.good[index] and index not in self.bad]
        if new:
            self.held = self._decode(new)
            for index, outcome in self.held.items():
                if isinstance(outcome, Unreadable):
                    self._skip(index, outcome)
                else:
                    self.good[index] = True
        return self.good[indices]

    def decoded(self, indices: np.ndarray) -> list[np.ndarray]:
        """Those of these samples that can be decoded; nothing is remembered of the others."""
        return [found for found in self._decode(indices.tolist()).values() if not isinstance(found, Unreadable)]

    def with_labels(self, labels: np.ndarray, rows: np.ndarray | None) -> "Stream":
        """Return the same stream with these labels at `rows` (None: all) and no other labels."""
        other = copy.copy(self)
        other.labels = np.full(len(self), -1, dtype=np.int64)
        other.labels[slice(None) if rows is None else rows] = labels
        return other

    def _decode(self, indices: list[int]) -> dict[int, np.ndarray | Unreadable]:
        items = self.table.items(indices) if indices else []
        return dict(zip(indices, self.pool.map(self.kind.attempt, items), strict=True))

    def _neighbour(self, index: int) -> np.ndarray:
        for step in range(1, len(self)):
            other = (index + step) % len(self)
            if other in self.bad or (self.labels is not None and self.labels[other] != self.labels[index]):
                continue
            outcome = self.kind.attempt(self.table.items([other])[0])
            if not isinstance(outcome, Unreadable):
                return outcome
            self._skip(other, outcome)
        name, reason = self.names[index], self.bad[index]
        raise WithholdError(f"{name} cannot be read ({reason}), and neither can any image that could replace it.")

    def _skip(self, index: int, error: Unreadable) -> None:
        if self.strict:
            raise WithholdError(f"{self.names[index]} cannot be read: {error}.")
        self.good[index] = False  # the file may have existed before
        if index not in self.bad:
            self.bad[index] = str(error)
            self.skipped.append((str(self.names[index]), str(error)))
