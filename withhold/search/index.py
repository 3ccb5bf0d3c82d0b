"""An index of embeddings in LanceDB: a folder with one table, searched exactly or, if it is large, approximately."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from withhold.console import counted
from withhold.errors import UsageError, WithholdError
from withhold.files import writing_folder
from withhold.search import reranking
from withhold.search.rows import about_of, directions, known, moment, opened, stored_rows, window_at

TABLE = "embeddings"
SHORTLIST = 5000
"""Number of nearest rows that a diffusion ranks."""
LEAST = 20_000
"""Fewest rows for an approximate index; smaller ones are searched exactly, in some tens of milliseconds."""
PARTITION, PROBES, REFINE = 8192, 128, 4
"""Rows per partition of the approximate index; nearest partitions that a query reads, which are all up to a million
rows; and how many times as many rows as requested are re-ranked by their exact vectors."""


def build(embeddings: str | os.PathLike | pyarrow.Table, out: str | os.PathLike) -> "Index":
    """Write an index of `embeddings` to the new folder `out`, atomically.

    With 20,000 rows or more, it has an approximate index (IVF_SQ in LanceDB): vectors quantised to one byte per number,
    in partitions by k-means.

    Args:
        embeddings: a table as returned by `Run.embed`, or a parquet file of one, which is read in pieces. Columns:
            path (text), start and end (if rows are windows), label (if any), embedding (lists of numbers of equal
            length). For arrays, use `pyarrow.table({"path": names, "embedding": list(vectors)})`.

    Raises:
        UsageError: a column is missing, there are no rows, an embedding is zero, not finite or of a different length,
            `out` exists, or LanceDB is not installed.
        WithholdError: the file cannot be read, or `out` cannot be written.
    """
    out = Path(out)
    with writing_folder(out) as partial:
        where, schema, batches = opened(embeddings)
        dim = 0
        for batch in batches():  # before writing, since LanceDB would wrap the error message
            dim = directions(where, batch, dim).shape[1]
        if not dim:
            raise UsageError(f"There are no embeddings in {where}. Embed data that is not empty.")
        kept = [schema.field(name) for name in known(schema) if name not in ("path", "embedding")]
        vectors = pyarrow.field("embedding", pyarrow.list_(pyarrow.float32(), dim))
        stored = pyarrow.schema([("path", pyarrow.string()), *kept, vectors], metadata=schema.metadata)
        rows = (stored_rows(where, batch, stored) for batch in batches())
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
        folder: its path.
        source: the embedded data, as `withhold.data.load` takes them; None if unknown.
        kind: kind of the data: "image", "video", "audio", "text" or "video + audio".
        encoder: digest of the encoder; None if unknown.
        decoding: decoding options of the data, such as the size of images; {} if unknown.
        pooled: stage and pooling of the vectors; {} if unknown.
        dim: length of the vectors.

    Raises:
        UsageError: `folder` is not an index, or LanceDB is not installed.
        WithholdError: the index is damaged.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        if not (self.folder / f"{TABLE}.lance").is_dir():  # LanceDB would create the folder
            raise UsageError(f"{folder} is not an index. Give a folder that `withhold search build` wrote.")
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
        self.pooled: dict[str, Any] = about.get("pooled", {})

    def __len__(self) -> int:
        return self._table.count_rows()

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'embedding')} of {counted(self.dim, 'number')} in {self.folder}>"

    def query(
        self,
        query: str | pyarrow.Table | np.ndarray,
        k: int = 10,
        *,
        exact: bool = False,
        expand: int = 0,
        alpha: float = 3.0,
        diffuse: bool = False,
    ) -> pyarrow.Table:
        """The `k` nearest rows, or all if there are fewer, as a table: path, label (if any), distance; nearest first.

        Windows also have start and end. The distance is one less the cosine similarity, from 0 (same direction) to 2
        (opposite).

        Args:
            query: a path as for `row`, whose own rows are left out; a table with one row, as returned by `Run.embed`;
                or a vector [dim].
            exact: compare all rows, which takes longer. Otherwise some neighbours may be missed with 20,000 rows or
                more. Distances are exact in either case.
            expand: number of nearest rows for query expansion: see `reranking.expand`.
            alpha: exponent of their weights.
            diffuse: rank the 5,000 nearest rows by `reranking.diffuse`. Distances remain cosine distances.

        Raises:
            UsageError: there is no such row, or the query is zero, has another length, or comes from another encoder.
        """
        if k < 1:
            raise UsageError(f"The number of neighbours must be at least 1, not {k}.")
        if expand < 0 or not 0 <= alpha < float("inf"):
            raise UsageError("expand must be at least 0, and alpha at least 0 and finite.")
        others = None
        if isinstance(query, str):
            (asked,) = (query := self.row(query)).drop_columns("embedding").to_pylist()
            quoted = asked["path"].replace("'", "''")
            others = f"path != '{quoted}'" + (f" OR start != {asked['start']!r}" if "start" in asked else "")
        vector = self._asked(query)
        if expand:
            vector = reranking.expand(vector, _vectors(self._nearest(vector, expand, others, exact)), alpha)
        found = self._nearest(vector, max(k, SHORTLIST) if diffuse else k, others, exact)
        if diffuse and found.num_rows > 2:
            found = found.take(np.argsort(-reranking.diffuse(vector, _vectors(found)), kind="stable")[:k])
        distances = np.abs(found["_distance"].to_numpy())  # rounding may make zeros negative
        return found.select(self._columns).append_column("distance", pyarrow.array(distances))

    def _nearest(self, vector: np.ndarray, k: int, others: str | None, exact: bool) -> pyarrow.Table:
        """The `k` nearest rows, with embeddings and distances, among the rows that the filter `others` allows."""
        with self._whole():
            search = self._table.search(vector).distance_type("cosine").limit(k)
            search = search.where(others) if others else search
            search = search.bypass_vector_index() if exact else search.nprobes(PROBES).refine_factor(REFINE)
            return search.to_arrow()

    def row(self, query: str) -> pyarrow.Table:
        """The embedding of a path, as returned by `Run.embed`; for an item with windows, their mean.

        "PATH#SECONDS" is the single window at that time (for a text, at that token).

        Raises:
            UsageError: there is no such row, or no window at that time.
        """
        path, time = moment(query)
        if (rows := self._rows(query)).num_rows:
            return pyarrow.table({"path": [query], "embedding": [_vectors(rows).mean(0)]})
        if time is not None and (rows := self._rows(path)).num_rows:
            return window_at(rows, time)
        with self._whole():
            names = self._table.search().select(["path"]).limit(len(self)).to_arrow()["path"].to_pylist()
        # Among rows with the same file name, suggest the one with the longest common path ending.
        ending = query.rstrip("/")
        alike = [row for row in names if f"/{row}".endswith(f"/{os.path.basename(ending)}")]
        near = max(alike, key=lambda row: len(os.path.commonpath([row[::-1], ending[::-1]])), default=None)
        example = f"such as {names[0]!r}, " if names else ""
        embed = f"Give the path of an item as it was embedded, {example}or --run to embed a file or a text."
        raise UsageError(f"{self.folder} has no row {query!r}. " + (f"Did you mean {near!r}?" if near else embed))

    def _rows(self, path: str) -> pyarrow.Table:
        """All rows of a path."""
        quoted = path.replace("'", "''")
        with self._whole():
            return self._table.search().where(f"path = '{quoted}'").limit(len(self)).to_arrow()

    def _asked(self, query: Any) -> np.ndarray:
        """The normalised query vector."""
        if isinstance(query, pyarrow.Table):
            if query.num_rows != 1:
                raise UsageError(f"The query has {query.num_rows:,} items. Give the path of a single item.")
            encoder = about_of(query.schema).get("encoder")
            if None not in (encoder, self.encoder) and encoder != self.encoder:
                raise UsageError(f"{self.folder} has embeddings of another encoder. Give the run that made them.")
            pooled = about_of(query.schema).get("pooled")
            if pooled and self.pooled and pooled != self.pooled:
                raise UsageError(
                    f"{self.folder} has embeddings of another stage or pooling. Embed the query with **index.pooled, "
                    f"which is {self.pooled}."
                )
        else:
            vector = np.asarray(query, dtype=np.float64)
            if vector.ndim != 1:
                raise UsageError(f"The query is an array of shape {list(vector.shape)}. Give one vector [{self.dim}].")
            query = pyarrow.table({"path": ["vector"], "embedding": [vector]})
        (vector,) = directions("the query", query.combine_chunks().to_batches()[0])
        if len(vector) != self.dim:
            raise UsageError(
                f"The query has {len(vector)} numbers, and the embeddings in {self.folder} have {self.dim}. "
                "Give the run that made them."
            )
        return vector

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            with _reasons():
                yield
        except (OSError, ValueError) as error:
            raise WithholdError(f"The index in {self.folder} is damaged ({error}). Build it again.") from error


def _vectors(rows: pyarrow.Table) -> np.ndarray:
    """The embeddings of rows of the index, float32 [n, dim]."""
    width = rows.schema.field("embedding").type.list_size
    return rows["embedding"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, width)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn LanceDB's I/O errors into OSErrors, without its source lines."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).split("LanceError(IO): ")[-1].split(", /")[0]) from error


def _lancedb() -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise UsageError("Search needs LanceDB, which is not installed. Run pip install 'withhold[search]'.") from error
    return lancedb
