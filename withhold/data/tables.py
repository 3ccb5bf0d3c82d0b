"""Undecoded samples in a row, whatever they came from: what every source turns into before it is decoded."""

import gzip
import hashlib
import itertools
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from withhold.data.kind import Item, Unreadable
from withhold.errors import WithholdError


class Table:
    """Samples that are not decoded yet.

    Attributes:
        labels: one value a sample (text or number; None, "" and -1 stand for unlabelled), or None where there are none.
        unlabelled: why there are none, where a person may have expected some; part of a sentence.
        classes: what the label numbers are called, where the source says so.
        listed: whether a manifest names its items.
    """

    labels: Sequence[Any] | None = None
    unlabelled: str = ""
    classes: tuple[str, ...] = ()
    listed: bool = False

    def __len__(self) -> int:
        raise NotImplementedError

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The samples at `indices`."""
        raise NotImplementedError

    def stamp(self) -> str:
        """Text that changes when the data change; cheap to compute."""
        raise NotImplementedError

    def names(self) -> Sequence[str]:
        """What each sample is called: its path where there is one, else its row."""
        return [str(row) for row in range(len(self))]

    def chunks(self, size: int) -> Iterator[list[Item]]:
        """All samples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.items(range(start, min(start + size, len(self))))

    def probe(self, count: int) -> list[int]:
        """The indices of at most `count` samples that are cheap to read and stand for the rest."""
        return sorted({int(index) for index in np.linspace(0, len(self) - 1, min(count, len(self)))})


class Files(Table):
    """Files at `names`, relative to the folder `root`."""

    def __init__(self, root: str, names: Sequence[str], labels: Sequence[Any] | None = None):
        self.root, self._names, self.labels = root, names, labels

    def __len__(self):
        return len(self._names)

    def names(self):
        return self._names

    def items(self, indices):
        return [self.paths(index)[0] for index in indices]

    def paths(self, index: int) -> list[str]:
        """The files that sample `index` lies in."""
        return [os.path.join(self.root, self._names[index])]

    def stamp(self):
        return _digest(self.labels, (file_stamp(path) for index in range(len(self)) for path in self.paths(index)))


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
    """Text files, a document each."""

    def items(self, indices):
        return [partial(_contents, path) for path in super().items(indices)]


class Lines(Table):
    """Texts that are in memory."""

    def __init__(self, texts: Sequence[str], labels: Sequence[Any] | None = None):
        self.texts, self.labels = texts, labels

    def __len__(self):
        return len(self.texts)

    def items(self, indices):
        return [self.texts[index] for index in indices]

    def stamp(self):
        return _digest(self.labels, (text + "\0" for text in self.texts))


class Paragraphs(Table):
    """The paragraphs of a text file: what stands between empty lines. They are read when they are asked for."""

    def __init__(self, path: str):
        self.path = path
        self.count = sum(map(len, self.chunks(1024)))

    def __len__(self):
        return self.count

    def items(self, indices):
        wanted, found = set(indices), {}
        for row, text in enumerate(text for chunk in self.chunks(1024) for text in chunk):
            if row in wanted:
                found[row] = text
        return [found[index] for index in indices]

    def chunks(self, size):
        part: list[Any] = []
        for _, group in itertools.groupby(self._lines(), key=lambda line: not line.strip()):
            text = "".join(group)
            if text.strip():
                part.append(text)
            if len(part) == size:
                yield part
                part = []
        if part:
            yield part

    def stamp(self):
        return file_stamp(self.path)

    def _lines(self) -> Iterator[str]:
        opened = gzip.open if self.path.endswith(".gz") else open
        try:
            with opened(self.path, "rt", encoding="utf-8-sig") as file:
                yield from file
        except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise WithholdError(f"{self.path} cannot be read: {reason}.") from error


class Zip(Table):
    """Files in an archive, by name; each is read when it is decoded, and nothing is unpacked to disk."""

    def __init__(self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]):
        self.archive, self._names, self.members = archive, list(members), list(members.values())
        self.lock = Lock()

    def __len__(self):
        return len(self._names)

    def names(self):
        return self._names

    def items(self, indices):
        return [partial(self._read, self.members[index]) for index in indices]

    def stamp(self):
        return file_stamp(str(self.archive.filename))

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        try:
            with self.lock:  # an archive counts its readers, which threads could get wrong
                return self.archive.read(member)
        except Exception as error:  # a damaged archive can raise nearly anything
            raise Unreadable(str(error).rstrip(".") or type(error).__name__) from error


class Parquet(Table):
    """A column of parquet files: encoded items as bytes or Hugging Face's struct {bytes, path}, or texts."""

    def __init__(self, paths: Sequence[str], column: str, label: str | None):
        import pyarrow.parquet as parquet

        self.paths, self.column, self.label = paths, column, label
        # Mapped and unbuffered, a file of any size is read page by page.
        self.files = [parquet.ParquetFile(path, memory_map=True, pre_buffer=False) for path in paths]
        self.groups = [(file, group) for file in self.files for group in range(file.num_row_groups)]
        counts = [file.metadata.row_group(group).num_rows for file, group in self.groups]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        schema = self.files[0].schema_arrow
        self.nested = str(schema.field(column).type).startswith("struct")
        self.classes = _class_names(schema, label)

    def __len__(self):
        return int(self.starts[-1])

    @property
    def labels(self):
        if self.label is None:
            return None
        return [value for file in self.files for value in file.read([self.label]).column(0).to_pylist()]

    def names(self):
        if not self.nested:
            return super().names()
        paths = [row for file in self.files for row in file.read([f"{self.column}.path"]).column(0).to_pylist()]
        return [(path and path["path"]) or str(row) for row, path in enumerate(paths)]

    def items(self, indices):
        found = {}
        for group in np.unique(np.searchsorted(self.starts, indices, "right") - 1):
            wanted = {index for index in indices if self.starts[group] <= index < self.starts[group + 1]}
            file, number = self.groups[group]
            start = int(self.starts[group])
            for batch in file.iter_batches(64, row_groups=[number], columns=[self.column]):
                for index in wanted & set(range(start, start + len(batch))):
                    found[index] = self._item(batch.column(0)[index - start].as_py())
                start += len(batch)
                if start > max(wanted):
                    break
        return [found[index] for index in indices]

    def chunks(self, size):
        for file in self.files:
            for batch in file.iter_batches(size, columns=[self.column]):
                yield [self._item(value) for value in batch.column(0).to_pylist()]

    def probe(self, count):
        # The head of a row group can be read without the rest of it.
        groups = np.unique(np.linspace(0, len(self.groups) - 1, min(len(self.groups), 32)).astype(int))
        heads = [range(self.starts[g], min(self.starts[g] + count // len(groups), self.starts[g + 1])) for g in groups]
        return [int(index) for head in heads for index in head]

    def stamp(self):
        return "\n".join(map(file_stamp, self.paths))

    def _item(self, value: Any) -> Item:
        if not isinstance(value, dict):
            return value or b""
        if value["bytes"] is None and value["path"]:
            return os.path.join(os.path.dirname(self.paths[0]), value["path"])
        return value["bytes"] or b""


def file_stamp(path: str) -> str:
    """A file's full path, size and time of change."""
    try:
        status = os.stat(path)
    except OSError:
        return f"{path} missing\n"
    return f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}\n"


def _digest(labels: Sequence[Any] | None, parts: Iterable[str]) -> str:
    """A digest of labels and of what they belong to."""
    total = hashlib.blake2b(repr(labels).encode(), digest_size=16)
    for part in parts:
        total.update(part.encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _contents(path: str) -> bytes:
    """A file's bytes."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Unreadable("missing file" if isinstance(error, FileNotFoundError) else str(error)) from error


def _class_names(schema: Any, label: str | None) -> tuple[str, ...]:
    """The names that Hugging Face's metadata in a parquet file give to the label numbers."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = about.get("info", {}).get("features", {}).get(label, {})
    return tuple(feature.get("names", ())) if feature.get("_type") == "ClassLabel" else ()
