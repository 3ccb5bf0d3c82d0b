"""Sources before decoding: their tables, splits, shapes and labels."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from withhold.data import hub, images, sources
from withhold.data.arranging import part_named
from withhold.data.images import Images
from withhold.data.kind import Item, Kind, Shape, Table, Unreadable
from withhold.data.labels import number
from withhold.data.samples import Samples
from withhold.data.sounds import Sounds
from withhold.data.tables import Frames, Succession
from withhold.data.texts import Texts
from withhold.data.videos import Videos
from withhold.errors import UsageError, WithholdError, suggestion

if TYPE_CHECKING:
    import datasets

log = logging.getLogger("withhold")

JOINT = " + "
"""The separator of joined kinds."""
TOGETHER = "Give videos with sound, or a csv file with columns image and sound."
KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Images, Videos, Sounds, Texts)}
FORMAT = 5  # part of every stamp: raise it when the same source gives other names or labels than before


def register(cls: type[Kind]) -> type[Kind]:
    """Register a class as a kind of data; `withhold.kinds` has its pictures and controls."""
    KINDS[cls.name] = cls
    return cls


def splits(source: Any, kind: str = "image") -> dict[str, Any]:
    """Return {"train": ..., "test": ...}, each a source of its own, if `source` has both; else {}.

    A split of a source with a name is the text "NAME::train", which can be used like any source.
    """
    base, split = _separate(source)
    if isinstance(base, dict):  # a DatasetDict
        found = sources.parts(base)
    elif split is not None or not isinstance(base, str | os.PathLike):
        return {}
    else:
        found = {part: f"{os.fspath(base)}::{part}" for part in sources.tables(base, kind_named(kind))}
    return {part: found[part] for part in ("train", "test")} if "test" in found else {}


def measure(source: Any, kind: str = "image") -> Shape:
    """Measure the shape of a source from at most 256 items. Raises: WithholdError: none of them can be read."""
    if isinstance(source, Samples):
        return source.measured()
    shape = Shape()
    for name in kind.split(JOINT):
        try:
            part = part_of(source, kind_named(name))
        except UsageError as error:
            if kind != "video + audio":
                raise
            raise UsageError(f"{error} {TOGETHER}") from error
        found = kind_named(name)().shape(part.table, part.name)
        shape = Shape(*map(max, astuple(shape), astuple(found)))
    return shape


def holds(source: Any, kinds: Sequence[str]) -> str:
    """Return the one of `kinds` of which a source has the most items; the first one if several are equal.

    For videos that are folders of frames, the frames are counted.

    Raises: WithholdError: the source has none of them.
    """
    if isinstance(source, Samples):
        return source.kind
    found: dict[str, int] = {}
    for kind in kinds:
        with contextlib.suppress(WithholdError):  # of all parts, since videos may not be split as images are
            found[kind] = sum(map(_held, part_of(source, kind_named(kind)).tables.values()))
    for kind in sorted(found, key=lambda kind: -found[kind]):
        with contextlib.suppress(WithholdError):
            measure(source, kind)
            return kind
    measure(source, kinds[0])  # raises an error with the reason
    return kinds[0]


def _held(table: Table) -> int:
    """The number of items, or of frames for videos that are folders of frames."""
    return sum(map(len, table.frames)) if isinstance(table, Frames) else len(table)


def alone(kind: str) -> list[str]:
    """The kinds that data of a joined kind may be read as: joined, or each alone; instead of a video also an image."""
    kinds = kind.split(JOINT)
    return [kind, *(["image"] if "video" in kinds else []), *reversed(kinds)]


def open(source: Any) -> "datasets.Dataset":
    """Open any source as an undecoded Hugging Face Dataset.

    Columns: image (a struct of encoded bytes or path), name, and label if any (a ClassLabel, null if unlabelled).
    Without a split in its name, a source with splits gives "train".
    """
    part = part_of(source, Images)
    return hub.as_dataset(part.table, *part.labels(), part.stamp)


def address(source: Any) -> str | None:
    """The address of a source, valid in any folder; None for a source without a name, such as an array."""
    base, split = _separate(source)
    if not isinstance(base, str | os.PathLike):
        return None
    text = os.fspath(base)
    if text != "digits" and not text.startswith("hf:"):
        text = os.path.abspath(text)
    return text if split is None else f"{text}::{split}"


def unnamed(address: str) -> bool:
    """Whether an address in a run's configuration stands for data without one, such as "ndarray of 64"."""
    return re.fullmatch(r"\w+ of \d+", address) is not None


def items(source: Any, names: Sequence[str], kind: str = "image") -> list[Item | None]:
    """Return the undecoded items called `names` in `source`; None for each that is missing.

    Without a source, names are paths, except for texts, whose names are numbers. For joined kinds it is the first one.
    """
    if source is None:
        return [None if kind == Texts.name else name for name in names]
    try:
        table = undecoded(source, kind)
    except WithholdError:
        return [None] * len(names)
    wanted = set(names)
    rows = {name: row for row, name in enumerate(table.names()) if name in wanted}
    known = dict(zip(rows, table.items(list(rows.values())), strict=True))
    return [known.get(name) for name in names]


def undecoded(source: Any, kind: str = "image") -> Table:
    """Return the table of a source's undecoded items; for joined kinds that of the first one."""
    return part_of(source, kind_named(kind)).table


def each_image(source: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the pixels, uint8 [c, h, w] at the image's own size, of each image.

    Images that cannot be read are skipped with a warning. Raises: WithholdError: none of them can be read.
    """
    part = part_of(source, Images)
    table, where, skipped = part.table, part.name, []
    for name, item in zip(table.names(), chain.from_iterable(table.chunks(16)), strict=True):
        try:
            yield name, torch.from_numpy(images.whole(item)).permute(2, 0, 1)
        except Unreadable as error:
            log.warning("%s in %s is skipped: %s.", name, where, error)
            skipped.append((name, str(error)))
    if len(skipped) == len(table):
        raise Images().nothing(table, where, skipped)
    if skipped:
        log.warning("Of the %s images in %s, %s could not be read.", f"{len(table):,}", where, f"{len(skipped):,}")


def kind_named(name: str) -> type[Kind]:
    """Return the kind of data of this name; for joined kinds the first one. Raises: UsageError: there is none."""
    first = name.split(JOINT)[0]
    if first not in KINDS:
        raise UsageError(f"There is no kind of data {name!r}: {suggestion(name, KINDS)}")
    return KINDS[first]


def _separate(source: Any) -> tuple[Any, str | None]:
    """Separate a source at "::" into its name and its split."""
    if isinstance(source, str) and "::" in source:
        base, _, split = source.rpartition("::")
        return base, split
    return source, None


@dataclass(frozen=True)
class Part:
    """A split of a source."""

    tables: sources.Tables  # the tables of all splits of the source
    split: str  # the name of this split; "" if there is only one
    name: str  # the name in messages

    @property
    def table(self) -> Table:
        return self.tables[self.split]

    @property
    def subset(self) -> str:
        """The part of a dataset that this is, a key of `arranging.PARTS`; also if its folder alone is the source."""
        alone = "" if isinstance(self.table, Succession) else part_named(os.path.basename(self.name.rstrip("/\\")))
        return self.split or alone

    @property
    def stamp(self) -> str:
        """Identifies the data. It depends on all splits, because classes are numbered over all of them."""
        stamps = "\n".join(f"{name}: {table.stamp()}" for name, table in sorted(self.tables.items()))
        return hashlib.blake2b(f"{FORMAT}\n{self.split}\n{stamps}".encode(), digest_size=16).hexdigest()

    def labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The class numbers of the items, and the names of the classes."""
        taught = {split: table for split, table in self.tables.items() if table.labels is not None}
        if self.split not in taught:
            return None, ()
        names = {table.classes for table in taught.values() if table.classes}
        rest = chain.from_iterable(table.labels or () for table in taught.values() if not table.classes)
        if len(names) == 1 and all(value is None or isinstance(value, int) for value in rest):
            return self.numbered({split: table.labels or () for split, table in taught.items()}, *names)
        return self.numbered({split: table.named_labels() or () for split, table in taught.items()})

    def numbered(
        self, columns: Mapping[str, Sequence[Any]], names: tuple[str, ...] = ()
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The class numbers of this split's values of a column, which is given by split, and the names of the classes.

        Classes are numbered over all splits; `names` are those of values that are numbers already.
        """
        if isinstance(self.table, Succession):
            numbers, classes = number(self.table.apart(columns[self.split]))
            return np.concatenate(numbers), classes
        numbers, classes = number(columns.values(), names)
        return dict(zip(columns, numbers, strict=True))[self.split], classes


class Several(tuple):
    """Sources that are read as one; each of them is a domain."""


def part_of(source: Any, kind: type[Kind]) -> Part:
    """Return the part that `source` names; the first one if it has splits and none is selected."""
    if isinstance(source, Several):
        parts = [part_of(one, kind) for one in source]
        names = [part.name for part in parts]
        titles = [address(one) or name for one, name in zip(source, names, strict=True)]
        titles = [name if titles.count(name) == 1 else f"{name} {place}" for place, name in enumerate(titles)]
        tables = {title: part.table for title, part in zip(titles, parts, strict=True)}
        return Part({"": Succession(tables)}, "", " and ".join(names))
    base, split = _separate(source)
    name = os.fspath(base) if isinstance(base, str | os.PathLike) else f"the {type(base).__name__}"
    found = sources.tables(base, kind)
    if split is None:
        return Part(found, next(iter(found)), name)
    if split not in found:
        known = [known for known in found if known]
        if not known:
            raise UsageError(f"{name} has no splits. Remove ::{split}.")
        raise UsageError(f"{name} has no split {split!r}: {suggestion(split, known)}")
    return Part(found, split, f"{name}::{split}")
