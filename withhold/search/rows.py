"""Rows of embeddings: read from a table or a file, checked, and looked up by name."""

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
"""Rows read at a time."""

Batches = Callable[[], Iterator[pyarrow.RecordBatch]]


def opened(embeddings: str | os.PathLike | pyarrow.Table) -> tuple[str, pyarrow.Schema, Batches]:
    """The name of the embeddings for messages, their schema, and a function that reads them from the start."""
    if isinstance(embeddings, pyarrow.Table):
        where, schema = "the table", embeddings.schema
    else:
        where = os.fspath(embeddings)
        if not os.path.isfile(where):
            raise UsageError(
                f"There is no file {where!r}. Write one with `withhold embed RUN DATA --out FILE.parquet`."
            )
        with _parquet(where) as file:
            schema = file.schema_arrow
    for name in ("path", "embedding"):
        if name not in schema.names:
            raise UsageError(
                f"There is no column {name!r} in {where} (only {', '.join(schema.names) or 'nothing'}). "
                "Give a file that `withhold embed` wrote."
            )
    kind = schema.field("embedding").type
    lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    if not any(is_a(kind) for is_a in lists) or not pyarrow.types.is_floating(kind.value_type):
        raise UsageError(f"The column 'embedding' of {where} has the type {kind}. Give lists of floats.")
    if isinstance(embeddings, pyarrow.Table):
        return where, schema, lambda: iter(embeddings.to_batches(CHUNK))
    columns = known(schema)

    def pieces() -> Iterator[pyarrow.RecordBatch]:
        with _parquet(where) as file:
            yield from file.iter_batches(CHUNK, columns=columns)

    return where, schema, pieces


def known(schema: pyarrow.Schema) -> list[str]:
    """The columns stored in an index."""
    floats = {name for name in schema.names if pyarrow.types.is_floating(schema.field(name).type)}
    spans = ["start", "end"] if {"start", "end"} <= floats else []
    return ["path", *spans, *(["label"] if "label" in schema.names else []), "embedding"]


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pyarrow.parquet.ParquetFile]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise WithholdError(f"{path} cannot be read as parquet ({str(error).splitlines()[0]}). Embed again.") from error


def directions(where: str, batch: pyarrow.RecordBatch, dim: int = 0) -> np.ndarray:
    """The normalised embeddings of a batch, float32 [n, dim]; with `dim` 0, the length of the first one is taken.

    Raises: UsageError: an embedding is missing, of another length, not finite, or zero.
    """
    column = batch.column("embedding")
    lengths = pyarrow.compute.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    dim = dim or (int(lengths[0]) if len(lengths) else 0)

    def refuse(wrong: np.ndarray, sentence: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            raise UsageError(f"The embedding of {batch.column('path')[row].as_py()!r} in {where} {sentence}")

    refuse(lengths == 0, "is empty. Embed the item again.")
    refuse(lengths != dim, f"does not have the length {dim} of the first. Embed all data with one run.")
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(batch), dim)
    refuse(~np.isfinite(values).all(1), "is not finite. Check the run with `withhold doctor`.")
    # Divide by the largest number first, since squares may overflow or underflow.
    largest = np.abs(values).max(1, keepdims=True, initial=0.0)
    refuse(largest[:, 0] == 0, "is zero and has no direction. Check the run with `withhold doctor`.")
    values /= largest
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def stored_rows(where: str, batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """A batch as stored in the index."""
    dim = schema.field("embedding").type.list_size
    flat = pyarrow.array(directions(where, batch, dim).reshape(-1))
    columns = [batch.column(name).cast(schema.field(name).type) for name in schema.names[:-1]]
    return pyarrow.RecordBatch.from_arrays(
        [*columns, pyarrow.FixedSizeListArray.from_arrays(flat, dim)], schema=schema
    )  # fmt: skip


def moment(query: str) -> tuple[str, float | None]:
    """The path and the time of "PATH#SECONDS"; for any other query, the query and None."""
    path, _, time = query.rpartition("#")
    try:
        return (path, float(time)) if path else (query, None)
    except ValueError:
        return query, None


def window_at(rows: pyarrow.Table, time: float) -> pyarrow.Table:
    """The window of an item that contains `time`, closest to its middle. Raises: UsageError: there is none."""
    path = rows["path"][0].as_py()
    if "start" not in rows.column_names:
        raise UsageError(f"{path} was not embedded by window. Give only its path, or embed with --windows.")
    start, end = (rows[name].to_numpy() for name in ("start", "end"))
    inside = np.flatnonzero((start <= time) & (time <= end))
    if not len(inside):
        raise UsageError(f"{path} has no window at {time:g}; its windows are from {start.min():g} to {end.max():g}.")
    middle = np.abs(start + end - 2 * time)[inside].argmin()
    return rows.slice(int(inside[middle]), 1)


def about_of(schema: pyarrow.Schema) -> dict[str, Any]:
    """The metadata written by `Run.embed`; items of unknown kind are taken for images."""
    return {"kind": "image"} | json.loads((schema.metadata or {}).get(b"withhold", b"{}"))
