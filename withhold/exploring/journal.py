"""The labels that people give, each written down at once."""

import csv
import io
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from withhold.errors import UsageError
from withhold.files import writing

HEADER = ["path", "label", "time"]
LONGEST = 200
"""Letters of a class's name."""


class Journal:
    """A csv file of labels: a row each time one is given or taken back. The last row of an item counts.

    The columns are path, label (empty where it was taken back) and time (UTC, to the second). Rows are appended in one
    write and reach the disk before `write` returns; what a kill left half-written is dropped when it is opened again.

    Args:
        path: the file, which need not exist.
        names: of the items. Rows of others stay in the file.

    Attributes:
        classes: names of classes by number, in the order in which they came up.
        labels: the class of each item, int32 [n]; -1 where there is none.

    Raises:
        UsageError: the file is no such table.
    """

    def __init__(self, path: Path, names: Sequence[str]):
        self.path, self.names = path, list(names)
        self.classes: list[str] = []
        self.labels = np.full(len(self.names), -1, dtype=np.int32)
        self._rows = {name: row for row, name in enumerate(self.names)}
        if not path.exists():
            with writing(path) as partial:
                partial.write_text(_lines([HEADER]), encoding="utf-8")
        content = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        found = list(csv.reader(io.StringIO(content, newline="")))
        if not found or found[0] != HEADER:
            raise UsageError(f"{path} is not a file of labels that `withhold explore` writes: name another --out.")
        ended = found if content.endswith("\n") else found[:-1]
        whole = [row for row in ended if len(row) == len(HEADER)]
        if whole != found:
            with writing(path) as partial:
                partial.write_text(_lines(whole), encoding="utf-8", errors="surrogateescape")
        for name, label, _ in whole[1:]:
            self._take(name, label)

    def __len__(self) -> int:
        """How many items have a label."""
        return int((self.labels >= 0).sum())

    @property
    def counts(self) -> list[int]:
        """How many items each class has."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes)).tolist()

    def number(self, label: str) -> int:
        """The number of a class, which is a new one if need be; -1 of no label."""
        if not label:
            return -1
        if label not in self.classes:
            self.classes.append(label)
        return self.classes.index(label)

    def write(self, items: Sequence[int], labels: Sequence[str]) -> None:
        """Give each of `items` its label; an empty one takes back what it has.

        Raises:
            UsageError: there is no such item, or a label has more than 200 letters or control characters.
        """
        labels = [checked(label) for label in labels]
        if len(items) != len(labels) or not all(0 <= item < len(self.names) for item in items):
            raise UsageError(f"Items are numbered from 0 to {len(self.names) - 1:,}, and each takes one label.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [[self.names[item], label, now] for item, label in zip(items, labels, strict=True)]
        text = _lines(rows).encode("utf-8", "surrogateescape")
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, text)
            os.fsync(handle)
        finally:
            os.close(handle)
        for name, label, _ in rows:
            self._take(name, label)

    def known(self) -> list[tuple[str, str]]:
        """The path and the label of every item that has one."""
        return [(self.names[i], self.classes[self.labels[i]]) for i in np.flatnonzero(self.labels >= 0)]

    def export(self) -> str:
        """All labels as they are now: a csv table with path and label, a row for each item that has one."""
        return _lines([HEADER[:2], *map(list, self.known())])

    def _take(self, name: str, label: str) -> None:
        if (row := self._rows.get(name)) is not None:
            self.labels[row] = self.number(label)


def checked(label: str) -> str:
    """A label without blanks around it. Raises: UsageError, it cannot be one."""
    label = label.strip()
    if len(label) > LONGEST or any(ord(letter) < 32 for letter in label):
        raise UsageError(f"A label is one line of up to {LONGEST} letters, and {label[:20]!r}... is not.")
    return label


def _lines(rows: Sequence[Sequence[str]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
