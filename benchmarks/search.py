"""Time to find the 10 nearest of a million embeddings, and recall of the approximate search.

The baseline is brute force in numpy: all vectors in memory, normalised, and a product with all of them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow
from record import record

from withhold import search
from withhold.search import index as setting

DIM, K, CLUSTERS = 256, 10, 1000
FEWER = setting.PROBES // 4
"""Parts of the index that a further search reads, to simulate an index four times as large."""


def random(count: int, rng: np.random.Generator) -> np.ndarray:
    """Normally distributed vectors without structure: all pairs are about equally far apart."""
    return rng.standard_normal((count, DIM), dtype=np.float32)


def clustered(count: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors around a thousand centres, half as far from their centre as it is from the origin."""
    centres = np.random.default_rng(99).standard_normal((CLUSTERS, DIM), dtype=np.float32)
    vectors = random(count, rng)
    vectors *= 0.5
    vectors += centres[rng.integers(0, CLUSTERS, count)]
    return vectors


def timed(find: Callable[[np.ndarray], list[int]], queries: np.ndarray) -> tuple[dict[str, float], list[list[int]]]:
    """Milliseconds per query after a first one, which opens and maps the files; and the results."""
    find(queries[0])
    spent, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(find(query))
        spent.append(1000 * (time.perf_counter() - start))
    return {"median_ms": round(statistics.median(spent), 1), "slowest_ms": round(max(spent), 1)}, found


def recall(found: list[list[int]], truth: list[list[int]]) -> float:
    """The share of the true nearest neighbours that was found."""
    shares = [len(set(some) & set(true)) / K for some, true in zip(found, truth, strict=True)]
    return round(statistics.mean(shares), 4)


def measure(draw: Callable[..., np.ndarray], count: int, queries: int, exact: int) -> list[dict[str, Any]]:
    """A row for each kind of search, all with the same queries."""
    vectors, asked = draw(count, np.random.default_rng(1)), draw(queries, np.random.default_rng(2))
    with tempfile.TemporaryDirectory() as folder:
        flat = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), DIM)
        table = pyarrow.table({"path": [str(row) for row in range(count)], "embedding": flat})
        start = time.perf_counter()
        search.build(table, Path(folder) / "index")
        seconds = round(time.perf_counter() - start, 1)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        index = search.Index(Path(folder) / "index")

        def ask(query: np.ndarray, **options: bool) -> list[int]:
            return [int(row) for row in index.query(query, K, **options)["path"].to_pylist()]

        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

        def brute(query: np.ndarray) -> list[int]:
            similarities = vectors @ query  # the length of the query does not change the order
            some = np.argpartition(similarities, -K)[-K:]
            return some[np.argsort(-similarities[some])].tolist()

        numpy_time, truth = timed(brute, asked)
        approximate_time, found = timed(ask, asked)
        with mock.patch.object(setting, "PROBES", FEWER):
            fewer_time, some_found = timed(ask, asked)
        exact_time, all_found = timed(lambda query: ask(query, exact=True), asked[:exact])
        shared = {"vectors": draw.__name__, "count": count, "dim": DIM, "build_seconds": seconds}
        shared["index_mb"] = round(size / 1e6)
        rows = [
            {"search": "approximate", **approximate_time, "recall": recall(found, truth)},
            {"search": f"approximate, {FEWER} parts", **fewer_time, "recall": recall(some_found, truth)},
            {"search": "exact", **exact_time, "recall": recall(all_found, truth[:exact])},
            {"search": "numpy, in memory", **numpy_time, "recall": 1.0},
        ]
        return [shared | row for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="embeddings in the index (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=200, help="number of queries (default: %(default)s)")
    parser.add_argument(
        "--exact", type=int, default=20, help="how many of the queries also run as exact search (default: %(default)s)"
    )
    options = parser.parse_args()
    rows = []
    for draw in (random, clustered):
        rows += measure(draw, options.count, options.queries, options.exact)
        for row in rows[-4:]:
            said = f"{row['median_ms']:9.1f} ms (at most {row['slowest_ms']:.1f})  recall@{K} {row['recall']:.4f}"
            print(f"{row['vectors']:10} {row['search']:22}{said}")
    print(record("search", {"queries": options.queries, "exact_queries": options.exact, "rows": rows}))


if __name__ == "__main__":
    main()
