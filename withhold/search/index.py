"""An index of embeddings in LanceDB: a folder with one table, searched exactly or, where it is large, approximately."""

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
"""Rows that a diffusion goes over: the nearest ones."""
LEAST = 20_000
"""Rows from which on there is an approximate index; of fewer all are compared, within some tens of milliseconds."""
PARTITION, PROBES, REFINE = 8192, 128, 4
"""Rows in a part of the approximate index; parts that a query reads, the nearest ones, so that up to a million rows
none is left out; and how many times as many rows as are wanted are compared once more, by their exact vectors."""


def build(embeddings: str | os.PathLike | pyarrow.Table, out: str | os.PathLike) -> "Index":
    """Write an index of `embeddings` to the new folder `out`, whole or not at all.

    From 20,000 rows on it holds, beside the vectors, one byte for each of their numbers, in parts around the centres of
    k-means: what LanceDB calls IVF_SQ.

    Args:
        embeddings: a table as `Run.embed` gives it, or a parquet file of one, which is read piece by piece. Columns:
            path (text), start and end (of a window, if rows are windows), label (if any), embedding (lists of numbers,
            all of one length). Of arrays: `pyarrow.table({"path": names, "embedding": list(vectors)})`.

    Raises:
        UsageError: a column is absent, there is no row, or an embedding has no direction or another length than the
            first; `out` exists; LanceDB is absent.
        WithholdError: the file cannot be read, or `out` cannot be written.
    """
    out = Path(out)
    with writing_folder(out) as partial:
        where, schema, batches = opened(embeddings)
        dim = 0
        for batch in batches():  # before anything is written, since LanceDB would wrap the sentence of an error
            dim = directions(where, batch, dim).shape[1]
        if not dim:
            raise UsageError(f"There is no embedding in {where}: embed data that holds something.")
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
        folder: where it is.
        source: the data that were embedded, as `withhold.data.load` takes them; None where nobody knows.
        kind: what the data are: "image", "video", "audio", "text" or "video + audio".
        encoder: the digest of the encoder that embedded them; None where nobody knows.
        decoding: what they were decoded to for it, such as the size of images; {} where nobody knows.
        pooled: the stage and the pooling that its vectors are from; {} where nobody knows.
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

        Of windows also start and end. The distance is one less the cosine of the two vectors: 0 for the same direction,
        2 for the opposite one.

        Args:
            query: what `row` takes, whose rows themselves are left out; a table with one row, as `Run.embed` gives it;
                or a vector [dim].
            exact: compare all rows, which takes longer. Without it some of the nearest may be missed among
                20,000 rows or more; distances are exact in either case.
            expand: how many of the nearest rows are asked with beside the query: see `reranking.expand`.
            alpha: of their weights.
            diffuse: order the 5,000 nearest rows, or all, by `reranking.diffuse`. Distances are still those of cosines.

        Raises:
            UsageError: there is no such row, or the query has no direction, another length, or another encoder.
        """
        if k < 1:
            raise UsageError(f"The {k} nearest cannot be found: ask for 1 at least.")
        if expand < 0 or not 0 <= alpha < float("inf"):
            raise UsageError("A query is expanded by 0 rows or more, with an alpha from 0 on.")
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
        distances = np.abs(found["_distance"].to_numpy())  # rounding makes some of those that are 0 negative
        return found.select(self._columns).append_column("distance", pyarrow.array(distances))

    def _nearest(self, vector: np.ndarray, k: int, others: str | None, exact: bool) -> pyarrow.Table:
        """The `k` nearest rows, with their embeddings and distances, of those that `others` lets be found."""
        with self._whole():
            search = self._table.search(vector).distance_type("cosine").limit(k)
            search = search.where(others) if others else search
            search = search.bypass_vector_index() if exact else search.nprobes(PROBES).refine_factor(REFINE)
            return search.to_arrow()

    def row(self, query: str) -> pyarrow.Table:
        """What is asked for by name, as `Run.embed` gives it: a row by its path; of windows, the mean of that path's.

        A single window is "PATH#SECONDS", with a second that lies in it (of a text, a token).

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
        # Of the rows of the same file name, the one whose path has the longest end in common with this one.
        ending = query.rstrip("/")
        alike = [row for row in names if f"/{row}".endswith(f"/{os.path.basename(ending)}")]
        near = max(alike, key=lambda row: len(os.path.commonpath([row[::-1], ending[::-1]])), default=None)
        embed = "give the path of a row as it was embedded, or with --run the run that embeds a file or a text."
        raise UsageError(f"{self.folder} has no row {query!r}: " + (f"did you mean {near!r}?" if near else embed))

    def _rows(self, path: str) -> pyarrow.Table:
        """All rows of a path."""
        quoted = path.replace("'", "''")
        with self._whole():
            return self._table.search().where(f"path = '{quoted}'").limit(len(self)).to_arrow()

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
        (vector,) = directions("the query", query.combine_chunks().to_batches()[0])
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


def _vectors(rows: pyarrow.Table) -> np.ndarray:
    """The embeddings of rows of the index, float32 [n, dim]."""
    return rows["embedding"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)


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
