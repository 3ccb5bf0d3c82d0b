"""Kinds of data: how their files are found and their items decoded; and tables of undecoded items."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np

from withhold.data.manifests import find
from withhold.errors import UsageError, WithholdError, suggestion

PROBES = 256

# An encoded file, a function that reads it (or raises Unreadable), its path, the paths of a video's frames, a text, or
# pixels: an image's uint8 [h, w] or [h, w, c], or a video's [t, h, w, c].
Item = bytes | Callable[[], bytes] | str | list[str] | np.ndarray


@dataclass(frozen=True)
class Shape:
    """The measures of an item, or of several: the median size and rate, and the most channels."""

    size: int = 0  # the shorter side of an image or video, in pixels
    channels: int = 0  # 1 if it is grey, else 3
    rate: int = 0  # the rate of a sound, in samples a second


class Unreadable(Exception):
    """An item that cannot be decoded; its text is the reason, in a few words."""


class Kind:
    """A kind of data and its decoding: a frozen dataclass whose fields are the decoding parameters.

    A field that is None is chosen from the data. An item becomes one row of an array, or several if `window` is not
    None: the frames of a video, the samples of a sound, the tokens of a text.
    """

    name: ClassVar[str]  # as methods declare it in `needs`
    noun: ClassVar[str]  # word for an item in messages
    endings: ClassVar[tuple[str, ...]]  # endings of its files
    columns: ClassVar[tuple[str, ...]]  # possible names of the column of a table with the items or their paths

    @classmethod
    def item_column(cls, where: Any, columns: Iterable[str]) -> str:
        """Return the column with items of this kind, or their paths. Raises: UsageError: there is none."""
        found = find(cls.columns, columns)
        if found is None:
            there, ways = ", ".join(columns), ", ".join(cls.columns)
            raise UsageError(f"{where} has no column of {cls.noun}s (it has {there}). Name it one of {ways}.")
        return found

    @property
    def window(self) -> int | None:
        """The number of rows of a window, which is the input of a network; None if an item is one row."""
        return None

    @property
    def key(self) -> str:
        """A text that changes whenever the result of `decode` changes."""
        raise NotImplementedError

    @property
    def at_once(self) -> int:
        """The number of items that are decoded at a time."""
        raise NotImplementedError

    @property
    def rows_a_second(self) -> float:
        """The rows per second of items that have a duration."""
        return 1.0

    def measure(self, item: Item) -> "Shape":
        """Measure an item quickly. Raises: Unreadable."""
        raise NotImplementedError

    def shape(self, table: "Table", where: str) -> "Shape":
        """Measure at most 256 items of a table. Raises: WithholdError: none of them is readable."""
        found, bad = [], []
        indices = table.probe(PROBES)
        for index, item in zip(indices, table.items(indices), strict=True):
            try:
                found.append(self.measure(item))
            except Unreadable as error:
                bad.append((table.names()[index], str(error)))
        if not found:
            raise self.nothing(table, where, bad)
        sizes, channels, rates = zip(*map(astuple, found), strict=True)
        return Shape(int(np.median(sizes)), max(channels), int(np.median(rates)))

    def suited(self, shape: "Shape") -> "Kind":
        """Return the same kind with every None replaced by a value that suits the data."""
        return self

    def decode(self, item: Item) -> np.ndarray:
        """Decode an item to its row, or rows [rows, ...]. Raises: Unreadable."""
        raise NotImplementedError

    def attempt(self, item: Item) -> np.ndarray | Unreadable:
        """Return the result of `decode`, or the error that it raises."""
        try:
            return self.decode(item)
        except Unreadable as error:
            return error

    def nothing(self, table: "Table", where: str, bad: list[tuple[str, str]]) -> WithholdError:
        """Return the error for a table without readable items."""
        if not len(table):
            return UsageError(f"{where} has no {self.noun}s.")
        first, reason = bad[0]
        return WithholdError(f"None of the {len(table)} {self.noun}s in {where} can be read ({first}: {reason}).")


class Table:
    """Undecoded items."""

    labels: Sequence[Any] | None = None  # one value per item, as in the source
    unlabelled: str = ""  # why there are no labels, if a user may expect some; part of a sentence
    classes: tuple[str, ...] = ()  # names of the label numbers, if the source has them
    listed: bool = False  # whether the items are listed in a manifest
    beside: Mapping[str, Sequence[Any]] = {}  # the columns of the manifest, including that of the items
    part_classes: tuple[str, ...] = ()  # names of the numbers in masks or boxes, if a file has them
    ignored: list[tuple[str, str]] = []  # (name, reason) of each file that is not read

    def __len__(self) -> int:
        raise NotImplementedError

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The items at `indices`."""
        raise NotImplementedError

    def stamp(self) -> str:
        """A text that changes when the items, their names or their labels change; cheap to compute."""
        raise NotImplementedError

    def names(self) -> Sequence[str]:
        """The name of each item: its path if there is one, else its row."""
        return [str(row) for row in range(len(self))]

    def named_labels(self) -> Sequence[Any] | None:
        """The labels, with numbers that have names replaced by them."""
        if self.labels is None or not self.classes:
            return self.labels
        known = range(len(self.classes))
        return [self.classes[value] if value in known else None for value in self.labels]

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(self.beside)

    def column(self, name: str) -> list[Any]:
        """The values of a column as in the source, None for missing ones. Raises: UsageError: the column is missing."""
        found = find([name.strip().lower()], self.columns)
        if found is None:
            raise UsageError(f"There is no column {name!r}: {suggestion(name, self.columns)}")
        return self._column(found)

    def _column(self, name: str) -> list[Any]:
        return list(self.beside[name])

    def chunks(self, size: int) -> Iterator[list[Item]]:
        """Yield all items in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.items(range(start, min(start + size, len(self))))

    def probe(self, count: int) -> list[int]:
        """The indices of at most `count` items that are cheap to read and represent the table."""
        return sorted({int(index) for index in np.linspace(0, len(self) - 1, min(count, len(self)))})
