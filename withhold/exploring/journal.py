"""The journal of labels, which saves each label at once."""

import csv
import io
import logging
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import numpy as np

from withhold.console import counted
from withhold.errors import UsageError
from withhold.files import write_rows, writing

log = logging.getLogger("withhold")

HEADER = ["path", "label", "time"]
LONGEST = 200
"""Longest class name in characters."""


class Journal:
    """A csv file of labels, with a row each time a label is given or removed. The last row of an item counts.

    The columns are path, label (empty if removed) and time (UTC, in seconds). Rows are appended in one write and are on
    disk before `write` returns. A row that was cut off by a kill is dropped when the file is opened again; a copy of
    the file as it was is then kept.

    Args:
        path: the file, which need not exist.
        names: names of the items; items of the same name share a label. Rows of other items stay in the file.

    Attributes:
        classes: class names by number, in order of first use.
        decided: the names of all items that have a row, whose label may have been removed again.
        labels: the class of each item, int32 [n]; -1 for no label.

    Raises:
        UsageError: the file is not such a table.
    """

    def __init__(self, path: Path, names: Sequence[str]):
        self.path, self.names = path, list(names)
        self.classes: list[str] = []
        self.labels = np.full(len(self.names), -1, dtype=np.int32)
        self.decided: set[str] = set()
        self._rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.names):
            self._rows.setdefault(escaped(name), []).append(row)
        if not path.exists():
            with writing(path) as partial:
                partial.write_text(_lines([HEADER]), encoding="utf-8")
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            content = file.read()
        found = list(csv.reader(io.StringIO(content, newline="")))
        if not found or found[0] != HEADER:
            raise UsageError(f"{path} is not a file of labels from `withhold explore`. Choose another --out.")
        # An editor may leave out the last newline or the time, and add empty cells.
        ended = content.endswith("\n") or len(found) == 1 or (len(found[-1]) == 3 and len(found[-1][2]) == len(_now()))
        rows = found if ended else found[:-1]
        filled = [[*row, ""][: len(HEADER)] for row in rows if len(row) > 1 and not any(row[len(HEADER) :])]
        whole = [[name, label.strip()[:LONGEST], time] for name, label, time in filled]
        if whole != found or not content.endswith("\n"):
            if lost := len([row for row in found if row]) - len(whole):
                shutil.copyfile(path, kept := _unused(path))
                log.warning("%s of %s cut off or not a label: left out; %s has them", counted(lost, "row"), path, kept)
            with writing(path) as partial:
                partial.write_text(_lines(whole), encoding="utf-8", errors="surrogateescape")
        for name, label, _ in whole[1:]:
            self._take(name, label)

    def __len__(self) -> int:
        """The number of labelled items."""
        return int((self.labels >= 0).sum())

    @property
    def counts(self) -> list[int]:
        """The number of items of each class."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes)).tolist()

    def number(self, label: str) -> int:
        """The number of a class, which is added if it is new; -1 for an empty label."""
        if not label:
            return -1
        if label not in self.classes:
            self.classes.append(label)
        return self.classes.index(label)

    def write(self, items: Sequence[int], labels: Sequence[str]) -> list[int]:
        """Give each of `items` its label; an empty label removes it. Returns these items and others of their names.

        Raises:
            UsageError: there is no such item, or a label has more than 200 characters or control characters.
        """
        labels = [checked(label) for label in labels]
        if len(items) != len(labels) or not all(0 <= item < len(self.names) for item in items):
            raise UsageError(f"Give one label per item; items are numbered from 0 to {len(self.names) - 1:,}.")
        now = _now()
        rows = [[self.names[item], label, now] for item, label in zip(items, labels, strict=True)]
        text = _lines(rows).encode("utf-8", "backslashreplace")
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND)
        end = os.fstat(handle).st_size
        try:
            while text:  # a disk that is nearly full takes a part of it
                text = text[os.write(handle, text) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, end)  # otherwise the next row would follow a part of this one
            raise
        finally:
            os.close(handle)
        return [row for name, label, _ in rows for row in self._take(name, label)]

    def known(self) -> list[tuple[str, str]]:
        """The path and label of every labelled item, each path once."""
        return list({self.names[i]: self.classes[self.labels[i]] for i in np.flatnonzero(self.labels >= 0)}.items())

    def export(self) -> str:
        """The current labels as a csv table with path and label, one row per labelled item."""
        return _lines([HEADER[:2], *map(list, self.known())])

    def _take(self, name: str, label: str) -> list[int]:
        if rows := self._rows.get(escaped(name), []):
            self.labels[rows] = self.number(label)
            self.decided.add(self.names[rows[0]])
        return rows


def _unused(path: Path) -> Path:
    """The name of a further copy of a file: NAME.bak, NAME.bak2 ..."""
    ends = chain([""], count(2))
    return next(kept for end in ends if not (kept := path.with_name(f"{path.name}.bak{end}")).exists())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def escaped(name: str) -> str:
    """A name with bytes that are not UTF-8 escaped, as the file has it."""
    return name.encode("utf-8", "backslashreplace").decode()


def checked(label: str) -> str:
    """A label without surrounding blanks. Raises: UsageError: it is not a valid label."""
    label = label.strip()
    if len(label) > LONGEST or any(ord(letter) < 32 or "\ud800" <= letter <= "\udfff" for letter in label):
        raise UsageError(f"{label[:20]!r}... is not a valid label: it must be one line of up to {LONGEST} characters.")
    return label


def _lines(rows: Sequence[Sequence[str]]) -> str:
    file = io.StringIO(newline="")
    write_rows(file, rows)
    return file.getvalue()
