"""Tables of undecoded items: files, documents, lines, paragraphs, parquet."""

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from withhold.data import media
from withhold.data.kind import Item, Kind, Table
from withhold.data.manifests import LABELS, find
from withhold.errors import UsageError, WithholdError


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


class Encoded(Table):
    """A column of encoded files in memory: bytes, Hugging Face's struct of bytes and path, or paths."""

    def __init__(self, values: Sequence[Any], names: Sequence[str], root: str):
        self.values, self._names, self.root = values, names, root

    def __len__(self):
        return len(self.values)

    def names(self):
        return self._names

    def items(self, indices):
        return [self._item(self.values[index]) for index in indices]

    def _item(self, value: Any) -> Item:
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        return os.path.join(self.root, located(self.root, value)) if isinstance(value, str) else value or b""

    def stamp(self):
        items = self.items(range(len(self)))
        return digest(
            None, (file_stamp(item) if isinstance(item, str) else hashlib.blake2b(item).hexdigest() for item in items)
        )


class Parquet(Table):
    """A column of parquet files: encoded items (bytes, or Hugging Face's struct of bytes and path), paths, or texts."""

    def __init__(self, paths: Sequence[str], kind: type[Kind]):
        from pyarrow import parquet

        self.paths, self.root = paths, os.path.dirname(paths[0])
        with self._reading():  # mapped and unbuffered, files of any size are read page by page
            self.files = [parquet.ParquetFile(path, memory_map=True, pre_buffer=False) for path in paths]
        schema = self.files[0].schema_arrow
        for path, file in zip(paths, self.files, strict=True):
            if set(file.schema_arrow.names) != set(schema.names):
                raise UsageError(
                    f"{path} and {paths[0]} have different columns. Give them the same columns, or use one file."
                )
        self.item, self.label = kind.item_column(paths[0], schema.names), find(LABELS, schema.names)
        self.groups = [(file, group) for file in self.files for group in range(file.num_row_groups)]
        counts = [file.metadata.row_group(group).num_rows for file, group in self.groups]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        form = str(schema.field(self.item).type)
        self.nested = form.startswith("struct") and "path: " in form
        self.holds_paths = kind.name != "text" and form in ("string", "large_string", "string_view")
        self.classes = _class_names(schema, self.label)

    def __len__(self):
        return int(self.starts[-1])

    @property
    def columns(self):
        return self.files[0].schema_arrow.names

    @property
    def labels(self):
        return self._column(self.label) if self.label else None

    def _column(self, name):
        with self._reading():
            return [value for file in self.files for value in file.read([name]).column(0).to_pylist()]

    def names(self):
        if not (self.nested or self.holds_paths):
            return super().names()
        paths = map(_its_path, self._column(f"{self.item}.path" if self.nested else self.item))
        return [path or str(row) for row, path in enumerate(paths)]

    def items(self, indices):
        found = {}
        with self._reading():
            for group in np.unique(np.searchsorted(self.starts, indices, "right") - 1):
                start, end = self.starts[group : group + 2].tolist()
                wanted = {index for index in indices if start <= index < end}
                file, number = self.groups[group]
                for batch in file.iter_batches(64, row_groups=[number], columns=[self.item]):
                    for index in wanted & set(range(start, start + len(batch))):
                        found[index] = self._item(batch.column(0)[index - start].as_py())
                    start += len(batch)
                    if start > max(wanted):
                        break
        return [found[index] for index in indices]

    def chunks(self, size):
        with self._reading():
            for file in self.files:
                for batch in file.iter_batches(size, columns=[self.item]):
                    yield [self._item(value) for value in batch.column(0).to_pylist()]

    def probe(self, count):
        # The head of a row group can be read without the rest of it.
        groups = np.unique(np.linspace(0, len(self.groups) - 1, min(len(self.groups), 32)).astype(int))
        heads = [range(self.starts[g], min(self.starts[g] + count // len(groups), self.starts[g + 1])) for g in groups]
        return [int(index) for head in heads for index in head]

    def stamp(self):
        listed: Iterable[str] = ()
        if self.holds_paths:
            listed = map(self._path, self._column(self.item))
        elif self.nested and self._lacks_bytes:
            listed = filter(os.path.isfile, map(self._path, map(_its_path, self._column(f"{self.item}.path"))))
        return digest(None, map(file_stamp, (*self.paths, *listed)))

    @property
    def _lacks_bytes(self) -> bool:
        """Whether a row may name a file instead of holding it, by the statistics of the row groups."""
        for file, group in self.groups:
            held = file.metadata.row_group(group)
            for column in map(held.column, range(held.num_columns)):
                counts = column.statistics
                if column.path_in_schema == f"{self.item}.bytes" and (counts is None or counts.null_count != 0):
                    return True
        return False

    def _item(self, value: Any) -> Item:
        if isinstance(value, dict):
            return value.get("bytes") or self._path(value.get("path"))
        return self._path(value) if self.holds_paths else value or b""

    def _path(self, name: str | None) -> str:
        return os.path.join(self.root, located(self.root, name)) if name else ""

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, NotImplementedError) as error:  # includes pyarrow's own errors
            reason = str(error).partition("\n")[0].rstrip(".")
            raise WithholdError(f"{self.paths[0]} cannot be read as parquet: {reason}.") from error


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


def _its_path(value: Any) -> str | None:
    """The path in a cell, which may be a struct."""
    return value["path"] if isinstance(value, dict) else value


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


def _class_names(schema: Any, label: str | None) -> tuple[str, ...]:
    """Return the class names in the Hugging Face metadata of a parquet file."""
    with contextlib.suppress(ValueError, AttributeError, LookupError, TypeError):  # the metadata may have any content
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = about["info"]["features"][label] if "info" in about else {}
        if feature.get("_type") == "ClassLabel" and str(schema.field(label).type).startswith(("int", "uint")):
            return tuple(map(str, feature["names"]))
    return ()
