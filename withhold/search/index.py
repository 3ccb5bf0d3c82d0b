"""An index of embeddings in LanceDB: a folder with one table, searched exactly or, where it is large, approximately."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from withhold.console import counted
from withhold.errors import UsageError, WithholdError
from withhold.files import writing_folder

TABLE = "embeddings"
CHUNK = 2**16
"""Rows that are read at a time."""
LEAST = 20_000
"""Rows from which on there is an approximate index; of fewer all are compared, within some tens of milliseconds."""
PARTITION, PROBES, REFINE = 8192, 128, 4
"""Rows in a part of the approximate index; parts that a query reads, the nearest ones, so that up to a million rows
none is left out; and how many times as many rows as are wanted are compared once more, by their exact vectors."""

Batches = Callable[[], Iterator[pyarrow.RecordBatch]]


def build(embeddings: str | os.PathLike | pyarrow.Table, out: str | os.PathLike) -> "Index":
    """Write an index of `embeddings` to the new folder `out`, whole or not at all.

    From 20,000 rows on it holds, beside the vectors, one byte for each of their numbers, in parts around the centres of
    k-means: what LanceDB calls IVF_SQ.

    Args:
        embeddings: a table as `Run.embed` gives it, or a parquet file of one, which is read piece by piece. Columns:
            path (text), label (if any), embedding (lists of numbers, all of one length). Of arrays:
            `pyarrow.table({"path": names, "embedding": list(vectors)})`.

    Raises:
        UsageError: a column is absent, there is no row, or an embedding has no direction or another length than the
            first; `out` exists; LanceDB is absent.
        WithholdError: the file cannot be read, or `out` cannot be written.
    """
    out = Path(out)
    with writing_folder(out) as partial:
        where, schema, batches = _opened(embeddings)
        dim = 0
        for batch in batches():  # before anything is written, since LanceDB would wrap the sentence of an error
            dim = _directions(where, batch, dim).shape[1]
        if not dim:
            raise UsageError(f"There is no embedding in {where}: embed data that holds something.")
        labels = [schema.field("label")] if "label" in schema.names else []
        vectors = pyarrow.field("embedding", pyarrow.list_(pyarrow.float32(), dim))
        stored = pyarrow.schema([("path", pyarrow.string()), *labels, vectors], metadata=schema.metadata)
        rows = (_stored(where, batch, stored) for batch in batches())
        with _reasons():
            table = _lancedb().connect(partial).create_table(
                TABLE, pyarrow.RecordBatchReader.from_batches(stored, rows)
            )  # fmt: skip
            if table.count_rows() >= LEAST:
                from lancedb.index import IvfSq

                table.create_index(
                    "embedding", config=IvfSq(distance_type="cosine", target_partition_size=PARTITION)
                )  # fmt: skip
    return Index(out)


class Index:
    """An opened index.

    Attributes:
        folder: where it is.
        source: the data that were embedded, as `withhold.data.load` takes them; None where nobody knows.
        kind: what the data are: "image", "video", "audio", "text" or "video + audio".
        encoder: the digest of the encoder that embedded them; None where nobody knows.
        decoding: what they were decoded to for it, such as the size of images; {} where nobody knows.
        dim: the length of its vectors.

    Raises:
        UsageError: `folder` holds no index, or LanceDB is absent.
        WithholdError: the index is damaged.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        if not (self.folder / f"{TABLE}.lance").is_dir():  # LanceDB would make the folder
            raise UsageError(f"{folder} is no index: give a folder that `withhold search build` made.")
        with self._whole():
            self._table = _lancedb().connect(self.folder).open_table(TABLE)
            self._columns = [name for name in self._table.schema.names if name != "embedding"]
            self.dim: int = self._table.schema.field("embedding").type.list_size
            self.approximate = bool(self._table.list_indices())
        about = about_of(self._table.schema)
        self.source: str | None = about.get("source")
        self.kind: str = about["kind"]
        self.encoder: str | None = about.get("encoder")
        self.decoding: dict[str, Any] = about.get("decoding", {})

    def __len__(self) -> int:
        return self._table.count_rows()

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'embedding')} of {counted(self.dim, 'number')} in {self.folder}>"

    def query(self, query: str | pyarrow.Table | np.ndarray, k: int = 10, *, exact: bool = False) -> pyarrow.Table:
        """The `k` nearest rows, or all if there are fewer, as a table: path, label (if any), distance; nearest first.

        The distance is one less the cosine of the two vectors: 0 for the same direction, 2 for the opposite one.

        Args:
            query: the path of a row, which itself is left out; a table with one row, as `Run.embed` gives it; or a
                vector [dim].
            exact: compare all rows, which takes longer. Without it some of the nearest may be missed among
                20,000 rows or more; distances are exact in either case.

        Raises:
            UsageError: there is no such row, or the query has no direction, another length, or another encoder.
        """
        if k < 1:
            raise UsageError(f"The {k} nearest cannot be found: ask for 1 at least.")
        others = None
        if isinstance(query, str):
            quoted = query.replace("'", "''")
            vector, others = self._row(query, quoted), f"path != '{quoted}'"
        else:
            vector = self._asked(query)
        with self._whole():
            search = self._table.search(vector).distance_type("cosine").select([*self._columns, "_distance"]).limit(k)
            search = search.where(others) if others else search
            search = search.bypass_vector_index() if exact else search.nprobes(PROBES).refine_factor(REFINE)
            return search.to_arrow().rename_columns([*self._columns, "distance"])

    def _row(self, path: str, quoted: str) -> np.ndarray:
        """The vector of a row; of several with the same path, of one of them."""
        with self._whole():
            rows = self._table.search().where(f"path = '{quoted}'").limit(1).select(["embedding"]).to_arrow()
            if rows.num_rows:
                return rows["embedding"].combine_chunks().flatten().to_numpy()
            names = self._table.search().select(["path"]).limit(len(self)).to_arrow()["path"].to_pylist()
        # Of the rows of the same file name, the one whose path has the longest end in common with this one.
        ending = path.rstrip("/")
        alike = [row for row in names if f"/{row}".endswith(f"/{os.path.basename(ending)}")]
        near = max(alike, key=lambda row: len(os.path.commonpath([row[::-1], ending[::-1]])), default=None)
        embed = "give the path of a row as it was embedded, or with --run the run that embeds a file or a text."
        raise UsageError(f"{self.folder} has no row {path!r}: " + (f"did you mean {near!r}?" if near else embed))

    def _asked(self, query: Any) -> np.ndarray:
        """The direction of what a person asks with."""
        if isinstance(query, pyarrow.Table):
            if query.num_rows != 1:
                raise UsageError(f"The query holds {query.num_rows:,} items: give the path of a single one.")
            encoder = about_of(query.schema).get("encoder")
            if None not in (encoder, self.encoder) and encoder != self.encoder:
                raise UsageError(f"{self.folder} holds embeddings of another encoder: give the run that made them.")
        else:
            vector = np.asarray(query, dtype=np.float64)
            if vector.ndim != 1:
                raise UsageError(f"The query is an array of shape {list(vector.shape)}: give one vector, [{self.dim}].")
            query = pyarrow.table({"path": ["vector"], "embedding": [vector]})
        (vector,) = _directions("the query", query.combine_chunks().to_batches()[0])
        if len(vector) != self.dim:
            raise UsageError(
                f"The query has {len(vector)} numbers and the embeddings in {self.folder} have {self.dim}: "
                "give the run that made them."
            )
        return vector

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            with _reasons():
                yield
        except (OSError, ValueError) as error:
            raise WithholdError(f"The index in {self.folder} is damaged ({error}): build it again.") from error


def _opened(embeddings: str | os.PathLike | pyarrow.Table) -> tuple[str, pyarrow.Schema, Batches]:
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
    columns = [name for name in schema.names if name in ("path", "label", "embedding")]

    def pieces() -> Iterator[pyarrow.RecordBatch]:
        with _parquet(where) as file:
            yield from file.iter_batches(CHUNK, columns=columns)

    return where, schema, pieces


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pyarrow.parquet.ParquetFile]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise WithholdError(f"{path} cannot be read as parquet ({str(error).splitlines()[0]}): embed again.") from error


def _directions(where: str, batch: pyarrow.RecordBatch, dim: int = 0) -> np.ndarray:
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


def _stored(where: str, batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """A batch as the index keeps it."""
    dim = schema.field("embedding").type.list_size
    flat = pyarrow.array(_directions(where, batch, dim).reshape(-1))
    columns = [batch.column(name).cast(schema.field(name).type) for name in schema.names[:-1]]
    return pyarrow.RecordBatch.from_arrays(
        [*columns, pyarrow.FixedSizeListArray.from_arrays(flat, dim)], schema=schema
    )  # fmt: skip


def about_of(schema: pyarrow.Schema) -> dict[str, Any]:
    """What `Run.embed` wrote beside the columns; items of which nothing is known are taken for images."""
    return {"kind": "image"} | json.loads((schema.metadata or {}).get(b"withhold", b"{}"))


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """LanceDB's errors as those of the system that they are, without the lines of its own source."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).split("LanceError(IO): ")[-1].split(", /")[0]) from error


def _lancedb() -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise UsageError("Search needs LanceDB, which is not installed: pip install 'withhold[search]'.") from error
    return lancedb
