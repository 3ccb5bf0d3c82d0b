"""Embeddings as rows: read from a table or a file, checked, and asked for by name."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from withhold.errors import UsageError, WithholdError

CHUNK = 2**16
"""Rows that are read at a time."""

Batches = Callable[[], Iterator[pyarrow.RecordBatch]]


def opened(embeddings: str | os.PathLike | pyarrow.Table) -> tuple[str, pyarrow.Schema, Batches]:
    """What to call the embeddings to a person, their schema, and what reads them, from the start at each call."""
    if isinstance(embeddings, pyarrow.Table):
        where, schema = "the table", embeddings.schema
    else:
        where = os.fspath(embeddings)
        if not os.path.isfile(where):
            raise UsageError(
                f"There is no file {where!r}: write one with `withhold embed RUN DATA --out FILE.parquet`."
            )
        with _parquet(where) as file:
            schema = file.schema_arrow
    for name in ("path", "embedding"):
        if name not in schema.names:
            raise UsageError(
                f"There is no column {name!r} in {where} (only {', '.join(schema.names) or 'nothing'}): "
                "give what `withhold embed` writes."
            )
    kind = schema.field("embedding").type
    lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    if not any(is_a(kind) for is_a in lists) or not pyarrow.types.is_floating(kind.value_type):
        raise UsageError(f"The column 'embedding' of {where} holds {kind}: give lists of floating numbers.")
    if isinstance(embeddings, pyarrow.Table):
        return where, schema, lambda: iter(embeddings.to_batches(CHUNK))
    columns = known(schema)

    def pieces() -> Iterator[pyarrow.RecordBatch]:
        with _parquet(where) as file:
            yield from file.iter_batches(CHUNK, columns=columns)

    return where, schema, pieces


def known(schema: pyarrow.Schema) -> list[str]:
    """The columns that an index keeps."""
    floats = {name for name in schema.names if pyarrow.types.is_floating(schema.field(name).type)}
    spans = ["start", "end"] if {"start", "end"} <= floats else []
    return ["path", *spans, *(["label"] if "label" in schema.names else []), "embedding"]


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pyarrow.parquet.ParquetFile]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise WithholdError(f"{path} cannot be read as parquet ({str(error).splitlines()[0]}): embed again.") from error


def directions(where: str, batch: pyarrow.RecordBatch, dim: int = 0) -> np.ndarray:
    """The embeddings in a batch at length one, float32 [n, dim], which cosines do not see; 0 takes the first's `dim`.

    Raises: UsageError, for the first row that has no embedding, one of another length, or one without a direction.
    """
    column = batch.column("embedding")
    lengths = pyarrow.compute.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    dim = dim or (int(lengths[0]) if len(lengths) else 0)

    def refuse(wrong: np.ndarray, sentence: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            raise UsageError(f"The embedding of {batch.column('path')[row].as_py()!r} in {where} {sentence}")

    refuse(lengths == 0, "is empty: embed it again.")
    refuse(lengths != dim, f"has another length than the {dim} of the first: embed all data with one run.")
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(batch), dim)
    refuse(~np.isfinite(values).all(1), "is not finite: see what `withhold doctor` says of the run.")
    # By the largest number first, since squares of very large and very small ones are infinite and zero.
    largest = np.abs(values).max(1, keepdims=True, initial=0.0)
    refuse(largest[:, 0] == 0, "is zero, which is no direction: see what `withhold doctor` says of the run.")
    values /= largest
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def stored_rows(where: str, batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """A batch as the index keeps it."""
    dim = schema.field("embedding").type.list_size
    flat = pyarrow.array(directions(where, batch, dim).reshape(-1))
    columns = [batch.column(name).cast(schema.field(name).type) for name in schema.names[:-1]]
    return pyarrow.RecordBatch.from_arrays(
        [*columns, pyarrow.FixedSizeListArray.from_arrays(flat, dim)], schema=schema
    )  # fmt: skip


def moment(query: str) -> tuple[str, float | None]:
    """The path and the time of "PATH#SECONDS"; of anything else itself, and None."""
    path, _, time = query.rpartition("#")
    try:
        return (path, float(time)) if path else (query, None)
    except ValueError:
        return query, None


def window_at(rows: pyarrow.Table, time: float) -> pyarrow.Table:
    """Of the windows of one item the one that `time` lies in, the nearest to its middle. Raises: UsageError: none."""
    path = rows["path"][0].as_py()
    if "start" not in rows.column_names:
        raise UsageError(f"{path} was not embedded by window: give its path alone, or embed with --windows.")
    start, end = (rows[name].to_numpy() for name in ("start", "end"))
    inside = np.flatnonzero((start <= time) & (time <= end))
    if not len(inside):
        raise UsageError(f"{path} has no window at {time:g}: it goes from {start.min():g} to {end.max():g}.")
    middle = np.abs(start + end - 2 * time)[inside].argmin()
    return rows.slice(int(inside[middle]), 1)


def about_of(schema: pyarrow.Schema) -> dict[str, Any]:
    """What `Run.embed` wrote beside the columns; items of which nothing is known are taken for images."""
    return {"kind": "image"} | json.loads((schema.metadata or {}).get(b"withhold", b"{}"))
