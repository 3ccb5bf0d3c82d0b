"""Tables of undecoded items: files, documents, lines, paragraphs."""

import gzip
import hashlib
import itertools
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from withhold.data import media
from withhold.data.kind import Table
from withhold.errors import WithholdError


class Files(Table):
    """Files at `names`, relative to the folder `root`."""

    def __init__(self, root: str, names: Sequence[str]):
        self.root, self._names = root, names

    def __len__(self):
        return len(self._names)

    def names(self):
        return self._names

    def items(self, indices):
        return [self.paths(index)[0] for index in indices]

    def paths(self, index: int) -> list[str]:
        """The files of sample `index`."""
        return [os.path.join(self.root, self._names[index])]

    def stamp(self):
        return digest(self, (file_stamp(path) for index in range(len(self)) for path in self.paths(index)))


class Frames(Files):
    """Videos as images in order: `frames` are the paths of each, relative to `root`."""

    def __init__(self, root: str, names: Sequence[str], frames: Sequence[list[str]]):
        super().__init__(root, names)
        self.frames = frames

    def items(self, indices):
        return list(map(self.paths, indices))

    def paths(self, index):
        return [os.path.join(self.root, name) for name in self.frames[index]]


class Documents(Files):
    """Text files with one document each."""

    def items(self, indices):
        return [partial(media.document, path) for path in super().items(indices)]


class Lines(Table):
    """Texts in memory."""

    def __init__(self, texts: Sequence[str]):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def items(self, indices):
        return [self.texts[index] for index in indices]

    def stamp(self):
        return digest(self, self.texts)


class Paragraphs(Table):
    """The paragraphs of a text file, separated by empty lines. They are read when needed."""

    def __init__(self, path: str):
        self.path = path
        self.count = sum(1 for _ in self._texts())

    def __len__(self):
        return self.count

    def items(self, indices):
        wanted = set(indices)
        found = {row: text for row, text in enumerate(self._texts()) if row in wanted}
        return [found[index] for index in indices]

    def chunks(self, size):
        texts = self._texts()
        return iter(lambda: list(itertools.islice(texts, size)), [])

    def stamp(self):
        return file_stamp(self.path)

    def _texts(self) -> Iterator[str]:
        opened = gzip.open if self.path.endswith(".gz") else open
        try:
            with opened(self.path, "rt", encoding="utf-8-sig") as file:
                for blank, lines in itertools.groupby(file, key=lambda line: not line.strip()):
                    if not blank:
                        yield "".join(lines)
        except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            reason = "not UTF-8 text; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise WithholdError(f"{self.path} cannot be read: {reason}.") from error


class Succession(Table):
    """Several tables as one; the name of an item begins with its table's name. `domains` has the table of each item."""

    def __init__(self, tables: dict[str, Table]):
        self.tables = tables
        counts = list(map(len, tables.values()))
        self.domains, self.starts = np.repeat(np.arange(len(counts)), counts), np.cumsum([0, *counts])
        self.listed = all(table.listed for table in tables.values())

    def __len__(self):
        return len(self.domains)

    @property
    def labels(self):
        known = [(table.named_labels(), len(table)) for table in self.tables.values()]
        if all(labels is None for labels, _ in known):
            return None
        return [value for labels, count in known for value in labels or [None] * count]

    def apart(self, column: Sequence[Any]) -> list[Sequence[Any]]:
        """The values of a column for each table, because tables may write the same class in different ways."""
        return [column[start:end] for start, end in itertools.pairwise(self.starts)]

    @property
    def columns(self):
        first, *rest = self.tables.values()
        return [name for name in first.columns if all(name in table.columns for table in rest)]

    def _column(self, name):
        return [value for table in self.tables.values() for value in table.column(name)]

    def names(self):
        return [f"{title}/{name}" for title, table in self.tables.items() for name in table.names()]

    def items(self, indices):
        found = {}
        for start, table in zip(self.starts, self.tables.values(), strict=False):
            own = [index for index in indices if start <= index < start + len(table)]
            found |= dict(zip(own, table.items([index - start for index in own]) if own else [], strict=True))
        return [found[index] for index in indices]

    def chunks(self, size):
        return itertools.chain.from_iterable(table.chunks(size) for table in self.tables.values())

    def stamp(self):
        return "\n".join(f"{title} {table.stamp()}" for title, table in self.tables.items())


def file_stamp(path: str) -> str:
    """A text that changes when the file at `path` is replaced, even by one of the same size and time; follows links."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def told_apart(names: Sequence[str]) -> list[str]:
    """Names of embedded files; those of several begin with their row, because equal names mean the same item."""
    counts = Counter(names)
    return [f"{row}/{name}" if counts[name] > 1 else name for row, name in enumerate(names)]


def in_order(names: Iterable[str]) -> list[str]:
    """Names of frames in the order of their numbers: 2.jpg before 10.jpg."""
    return sorted(names, key=lambda name: [int(t) if t.isdecimal() else t for t in re.split("([0-9]+)", name)])


def located(root: str, name: str) -> str:
    """Convert a path in a manifest to one of this system: without surrounding spaces, with / for \\."""
    plain = name.strip().replace("\\", "/")
    return name if plain == name or os.path.exists(os.path.join(root, name)) else plain


def digest(table: Table | None, parts: Iterable[str]) -> str:
    """Return a digest of the names and labels of a table, and of further parts."""
    about = () if table is None else (repr(table.labels), *table.names())
    total = hashlib.blake2b(digest_size=16)
    for part in itertools.chain(about, ["\0"], parts):
        total.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return total.hexdigest()
