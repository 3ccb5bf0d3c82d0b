"""What a kind of data is: how its files are found and its items decoded; and a table of items that are not yet."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from withhold.data.manifests import find
from withhold.errors import UsageError, WithholdError, suggestion

PROBES = 256

# An encoded file, what reads one (and raises Unreadable), its path, the paths of a video's frames in order, a text, or
# pixels: an image's uint8 [h, w] or [h, w, c], or a video's [t, h, w, c].
Item = bytes | Callable[[], bytes] | str | list[str] | np.ndarray


@dataclass(frozen=True)
class Shape:
    """What a probe saw."""

    size: int = 0  # the median shorter side of images or videos, in pixels
    channels: int = 0  # 1 if all that was seen is grey, else 3
    rate: int = 0  # the median of sounds, in samples a second


class Unreadable(Exception):
    """An item that cannot be decoded; its text is the reason, in a few words."""


class Kind:
    """A kind of data, and how its items are decoded: a frozen dataclass whose fields are the decode parameters.

    A field that is None takes what suits the data. An item becomes one row of an array, or several where `window` is
    not None: the frames of a video, the samples of a sound, the tokens of a text.
    """

    name: ClassVar[str]  # as methods declare it in `needs`
    noun: ClassVar[str]  # what a person calls an item
    endings: ClassVar[tuple[str, ...]]  # of the files that hold one
    columns: ClassVar[tuple[str, ...]]  # what the column of a table may be called that holds the items or their paths

    @classmethod
    def item_column(cls, where: Any, columns: Iterable[str]) -> str:
        """The column that holds items of this kind, or their paths. Raises: UsageError, there is none."""
        found = find(cls.columns, columns)
        if found is None:
            there, ways = ", ".join(columns), ", ".join(cls.columns)
            raise UsageError(f"{where} has no column of {cls.noun}s (it has {there}): call it one of {ways}.")
        return found

    @property
    def window(self) -> int | None:
        """Rows of an item that a network sees at once; None where an item is one row."""
        return None

    @property
    def key(self) -> str:
        """Text that changes when `decode` would give other values."""
        raise NotImplementedError

    @property
    def at_once(self) -> int:
        """Items that are decoded before they are written."""
        raise NotImplementedError

    @property
    def rows_a_second(self) -> float:
        """Rows of an item for a second of it, where it has a length in time."""
        return 1.0

    def measure(self, item: Item) -> dict[str, Any]:
        """What an item has of its own, quickly: its size, its rate ... Raises: Unreadable."""
        raise NotImplementedError

    def shape(self, table: "Table", where: str) -> "Shape":
        """What a probe of the table sees. Raises: WithholdError, if none of its items is readable."""
        raise NotImplementedError

    def suited(self, shape: "Shape") -> "Kind":
        """The same kind, where every None has taken what suits the data."""
        return self

    def decode(self, item: Item) -> np.ndarray:
        """An item's row, or rows [rows, ...]. Raises: Unreadable."""
        raise NotImplementedError

    def attempt(self, item: Item) -> np.ndarray | Unreadable:
        """What `decode` gives, or the error that it raises."""
        try:
            return self.decode(item)
        except Unreadable as error:
            return error

    def probe(self, table: "Table", where: str) -> list[dict[str, Any]]:
        """What `measure` says of at most 256 items. Raises: WithholdError, if none of them is readable."""
        found, bad = [], []
        indices = table.probe(PROBES)
        for index, item in zip(indices, table.items(indices), strict=True):
            try:
                found.append(self.measure(item))
            except Unreadable as error:
                bad.append((table.names()[index], str(error)))
        if not found:
            raise self.nothing(table, where, bad)
        return found

    def nothing(self, table: "Table", where: str, bad: list[tuple[str, str]]) -> WithholdError:
        """The error of a table of which no item is readable."""
        if not len(table):
            return UsageError(f"{where} holds no {self.noun}.")
        first, reason = bad[0]
        return WithholdError(f"None of the {len(table)} {self.noun}s in {where} can be read ({first}: {reason}).")


class Table:
    """Items that are not decoded yet."""

    labels: Sequence[Any] | None = None  # one value an item, as the source has it
    unlabelled: str = ""  # why there are none, where a person may have expected some; part of a sentence
    classes: tuple[str, ...] = ()  # what the label numbers are called, where the source says so
    listed: bool = False  # whether a manifest names its items
    beside: Mapping[str, Sequence[Any]] = {}  # the columns of the manifest, the items' own among them
    part_classes: tuple[str, ...] = ()  # what the numbers in the items' masks or boxes are called, where a file says so
    ignored: list[tuple[str, str]] = []  # (name, reason) of each file beside them that is not read

    def __len__(self) -> int:
        raise NotImplementedError

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The items at `indices`."""
        raise NotImplementedError

    def stamp(self) -> str:
        """Text that changes when the items, their names or their labels change; cheap to compute."""
        raise NotImplementedError

    def names(self) -> Sequence[str]:
        """What each item is called: its path where there is one, else its row."""
        return [str(row) for row in range(len(self))]

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(self.beside)

    def column(self, name: str) -> list[Any]:
        """The values of a column as the source has them, None for a gap. Raises: UsageError: there is no such."""
        found = find([name.strip().lower()], self.columns)
        if found is None:
            raise UsageError(f"There is no column {name!r}: {suggestion(name, self.columns)}")
        return self._column(found)

    def _column(self, name: str) -> list[Any]:
        return list(self.beside[name])

    def chunks(self, size: int) -> Iterator[list[Item]]:
        """All items in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.items(range(start, min(start + size, len(self))))

    def probe(self, count: int) -> list[int]:
        """The indices of at most `count` items that are cheap to read and stand for the rest."""
        return sorted({int(index) for index in np.linspace(0, len(self) - 1, min(count, len(self)))})
