"""Tables in parquet files."""

import contextlib
import copy
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

from withhold.data.arrays import pixels
from withhold.data.kind import Item, Kind, Table
from withhold.data.manifests import LABELS, find
from withhold.data.tables import digest, file_stamp, located, told_apart
from withhold.errors import UsageError, WithholdError


class Parquet(Table):
    """A column of parquet files: encoded items (bytes, or Hugging Face's struct of bytes and path), paths, or texts."""

    def __init__(self, paths: Sequence[str], kind: type[Kind]):
        self.paths, self.root = paths, os.path.dirname(paths[0])
        with self._reading():  # mapped and unbuffered, files of any size are read page by page
            self.files = [parquet.ParquetFile(path, memory_map=True, pre_buffer=False) for path in paths]
        schema = self.files[0].schema_arrow
        for path, file in zip(paths, self.files, strict=True):
            if set(file.schema_arrow.names) != set(schema.names):
                raise UsageError(
                    f"{path} and {paths[0]} have different columns. Give them the same columns, or use one file."
                )
        self.label = find(LABELS, schema.names)
        if self.label and pyarrow.types.is_nested(schema.field(self.label).type):
            self.unlabelled, self.label = f"its column {self.label} holds no classes", None
        self.groups = [(file, group) for file in self.files for group in range(file.num_row_groups)]
        counts = [file.metadata.row_group(group).num_rows for file, group in self.groups]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        named = [_class_names(file.schema_arrow, self.label) for file in self.files]
        known = {names: path for names, path in zip(named, paths, strict=True) if names}
        if len(known) > 1:
            first, other, *_ = known.values()
            raise UsageError(f"{other} and {first} have different class names. Write them with the same ones.")
        self.classes = next(iter(known), ())
        self._read_from(kind.item_column(paths[0], schema.names), kind.name != "text")

    def _read_from(self, item: str, files: bool) -> None:
        """Take the items from a column; `files` says whether its texts are paths."""
        form = self.files[0].schema_arrow.field(item).type
        form = form.value_type if pyarrow.types.is_dictionary(form) else form
        self.item, self.nested = item, pyarrow.types.is_struct(form) and form.get_field_index("path") >= 0
        self.holds_paths = files and str(form) in ("string", "large_string", "string_view")

    def over(self, column: str) -> "Parquet":
        """The same rows, without labels; their items are the files in another column."""
        other = copy.copy(self)
        other.label, other.classes = None, ()
        other._read_from(column, files=True)
        return other

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
        names = [path or str(row) for row, path in enumerate(paths)]
        return told_apart(names) if self.nested else names

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
        return digest(None, [self.item, *map(file_stamp, (*self.paths, *listed))])

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
        if isinstance(value, list):
            return pixels(value)
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


def _its_path(value: Any) -> str | None:
    """The path in a cell, which may be a struct."""
    return value["path"] if isinstance(value, dict) else value


def _class_names(schema: Any, label: str | None) -> tuple[str, ...]:
    """Return the class names in the Hugging Face metadata of a parquet file."""
    with contextlib.suppress(ValueError, AttributeError, LookupError, TypeError):  # the metadata may have any content
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = about["info"]["features"][label] if "info" in about else {}
        if feature.get("_type") == "ClassLabel" and str(schema.field(label).type).startswith(("int", "uint")):
            return tuple(map(str, feature["names"]))
    return ()
