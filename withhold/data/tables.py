"""Undecoded samples in a row, whatever they came from: what every source turns into before it is decoded."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from withhold.data.images import Item, Unreadable


class Table:
    """Samples that are not decoded yet.

    Attributes:
        labels: one value a sample (text or number; None, "" and -1 stand for unlabelled), or None where there are none.
        unlabelled: why there are none, where a person may have expected some; part of a sentence.
        classes: what the label numbers are called, where the source says so.
    """

    labels: Sequence[Any] | None = None
    unlabelled: str = ""
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def images(self, indices: Sequence[int]) -> list[Item]:
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
            yield self.images(range(start, min(start + size, len(self))))

    def probe(self, count: int) -> list[int]:
        """The indices of at most `count` samples that are cheap to read and stand for the rest."""
        return sorted({int(index) for index in np.linspace(0, len(self) - 1, min(count, len(self)))})


class Files(Table):
    """Image files at `names`, relative to the folder `root`."""

    def __init__(self, root: str, names: Sequence[str], labels: Sequence[Any] | None = None):
        self.root, self._names, self.labels = root, names, labels

    def __len__(self):
        return len(self._names)

    def names(self):
        return self._names

    def images(self, indices):
        return [os.path.join(self.root, self._names[index]) for index in indices]

    def stamp(self):
        total = hashlib.blake2b(repr(self.labels).encode(), digest_size=16)
        for path in self.images(range(len(self))):
            total.update(file_stamp(path).encode("utf-8", "surrogateescape"))
        return total.hexdigest()


class Zip(Table):
    """Image files in an archive, by name; each is read when it is decoded, and nothing is unpacked to disk."""

    def __init__(self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]):
        self.archive, self._names, self.members = archive, list(members), list(members.values())
        self.lock = Lock()

    def __len__(self):
        return len(self._names)

    def names(self):
        return self._names

    def images(self, indices):
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
    """Encoded images in a column of parquet files: bytes, or Hugging Face's struct {bytes, path}."""

    def __init__(self, paths: Sequence[str], column: str, label: str | None):
        import pyarrow.parquet as parquet

        self.paths, self.column, self.label = paths, column, label
        # Mapped and unbuffered, a file of any size is read page by page.
        self.files = [parquet.ParquetFile(path, memory_map=True, pre_buffer=False) for path in paths]
        self.groups = [(file, group) for file in self.files for group in range(file.num_row_groups)]
        counts = [file.metadata.row_group(group).num_rows for file, group in self.groups]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        schema = self.files[0].schema_arrow
        self.nested = not _is_binary(schema.field(column).type)
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

    def images(self, indices):
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


def _is_binary(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view")


def _class_names(schema: Any, label: str | None) -> tuple[str, ...]:
    """The names that Hugging Face's metadata in a parquet file give to the label numbers."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = about.get("info", {}).get("features", {}).get(label, {})
    return tuple(feature.get("names", ())) if feature.get("_type") == "ClassLabel" else ()
