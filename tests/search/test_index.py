"""A search index agrees with brute force, exactly or approximately, and reports what it does not support."""

import contextlib
import json
import resource
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tests.conftest import ROOT
from withhold import search
from withhold.errors import UsageError, WithholdError
from withhold.search import index as module
from withhold.search import reranking, rows


def table(vectors, paths=None, **columns):
    """Embeddings as `withhold embed` writes them."""
    vectors = np.asarray(vectors, np.float32)
    flat = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), vectors.shape[1])
    return pyarrow.table({"path": paths or [f"{i}.png" for i in range(len(vectors))], **columns, "embedding": flat})


def brute(vectors, query):
    """All cosine distances, float64 [n]."""
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    return np.array([1 - (v @ query) / (np.sqrt(v @ v) * np.sqrt(query @ query)) for v in vectors])


def agrees(found, distances, k):
    """What was found is k different rows at their own distances, none of the rest is nearer, and the order is right."""
    rows = [int(path.removesuffix(".png")) for path in found["path"].to_pylist()]
    said = found["distance"].to_numpy()
    assert len(set(rows)) == len(rows) == k
    np.testing.assert_allclose(said, distances[rows], atol=1e-6)
    np.testing.assert_allclose(said, np.sort(distances)[:k], atol=1e-6)
    assert (np.diff(said) >= 0).all()


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).standard_normal((500, 24)).astype(np.float32) * 3 + 1


@pytest.fixture(scope="module")
def small(vectors, tmp_path_factory):
    return search.build(table(vectors), tmp_path_factory.mktemp("small") / "index")


def test_exact_is_brute_force(small, vectors):
    assert not small.approximate
    assert (len(small), small.dim) == (500, 24)
    for query in np.random.default_rng(1).standard_normal((5, 24)):
        distances = brute(vectors, query)
        for k in (1, 10, 500):
            agrees(small.query(query, k), distances, k)
            agrees(small.query(query, k, exact=True), distances, k)
        agrees(small.query(query, 2000), distances, 500)
        agrees(small.query(1e-3 * query), distances, 10)  # of a direction, the length says nothing


def test_ties_and_opposites(tmp_path):
    vectors = np.array([[1, 0]] * 4 + [[0, 2]] * 3 + [[-5, 0]] * 2)
    index = search.build(table(vectors), tmp_path / "index")
    agrees(index.query(np.array([3.0, 0])), brute(vectors, np.array([3.0, 0])), 9)
    found = index.query(np.array([3.0, 0]), 6)
    assert found["distance"].to_pylist() == pytest.approx([0, 0, 0, 0, 1, 1])
    assert set(found["path"].to_pylist()[:4]) == {f"{i}.png" for i in range(4)}
    assert index.query(np.array([3.0, 0]), 9)["distance"].to_pylist()[-1] == pytest.approx(2)


def test_lengths_that_float32_cannot_square(tmp_path):
    vectors = np.array([[1e30, 0], [1e-30, 1e-30], [0, 1]])
    index = search.build(table(vectors), tmp_path / "index")
    found = index.query(np.array([0, 1e-35]), 3)
    assert found["path"].to_pylist() == ["2.png", "1.png", "0.png"]
    assert found["distance"].to_pylist() == pytest.approx([0, 1 - 0.5**0.5, 1])


def test_a_row_asks_for_the_others(small, vectors):
    distances = brute(vectors, vectors[7])
    distances[7] = np.inf
    agrees(small.query("7.png"), distances, 10)
    agrees(small.query("7.png", 1000), distances, 499)
    with pytest.raises(UsageError, match=r"has no row 'photo.png'. Give the path .* or --run to embed a file"):
        small.query("photo.png")


def test_an_expanded_query_asks_with_what_it_found(small, vectors, tmp_path):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query = np.random.default_rng(2).standard_normal(24)
    query /= np.linalg.norm(query)
    nearest = np.argsort(-(unit @ query))[:5]
    for alpha in (0, 3.0):
        asked = query + sum((unit[row] @ query) ** alpha * unit[row] for row in nearest)
        agrees(small.query(query, 8, expand=5, alpha=alpha), brute(vectors, asked), 8)
    found = small.query("7.png", 20, expand=3)
    assert "7.png" not in found["path"].to_pylist()
    alone = search.build(table(vectors[:1]), tmp_path / "alone")
    assert alone.query("0.png", 3, expand=2).num_rows == 0
    for wrong in ({"expand": -1}, {"alpha": -0.5}, {"alpha": np.nan}):
        with pytest.raises(UsageError, match="expand must be at least 0, and alpha at least 0"):
            small.query(query, **wrong)


def test_diffusion_is_the_solution_of_its_equation(vectors):
    unit = vectors[:120].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    query, n = unit[-1], 119
    rows = unit[:n]
    cosines = rows @ rows.T
    weights = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            near = [j in np.argsort(-cosines[i])[1:51], i in np.argsort(-cosines[j])[1:51]]
            weights[i, j] = max(cosines[i, j], 0) ** 3 if i != j and all(near) else 0
    scale = np.diag(weights.sum(1) ** -0.5)
    start = np.zeros(n)
    for row in np.argsort(-(rows @ query))[:10]:
        start[row] = max(rows[row] @ query, 0) ** 3
    expected = np.linalg.solve(np.eye(n) - 0.99 * scale @ weights @ scale, start)
    np.testing.assert_allclose(reranking.diffuse(query, rows), expected, rtol=1e-3, atol=1e-6)


def test_diffusion_follows_a_curve_that_distance_leaves(tmp_path):
    angle = np.linspace(0, 0.8 * np.pi, 80)  # a long arc, and a cloud that is nearer to its beginning than its end is
    arc = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    cloud = np.array([0.3, 0, 1]) + 0.1 * np.random.default_rng(0).standard_normal((80, 3))
    index = search.build(table(np.concatenate([arc, cloud])), tmp_path / "index")

    def kept(**how):
        return sum(int(path.split(".")[0]) < 80 for path in index.query("0.png", 79, **how)["path"].to_pylist())

    assert kept(diffuse=True) == 79 > kept() + 10
    found = index.query("0.png", 79, diffuse=True)
    distances = brute(np.concatenate([arc, cloud]), arc[0])
    rows = [int(path.split(".")[0]) for path in found["path"].to_pylist()]
    np.testing.assert_allclose(found["distance"].to_numpy(), distances[rows], atol=1e-6)
    for count in (1, 2, 3):  # of which there is hardly a graph
        few = search.build(table(arc[:count]), tmp_path / str(count))
        assert few.query(arc[0], diffuse=True).num_rows == count


def test_a_row_that_ends_alike_is_suggested(tmp_path):
    names = ["fight/fi004.mp4", "other/fi004.mp4", "fight/i004.mp4", "a b.mp4"]
    index = search.build(table(np.eye(4), names), tmp_path / "index")
    for asked, meant in (
        ("vids/fight/fi004.mp4", "fight/fi004.mp4"),
        ("other/fi004.mp4/", "other/fi004.mp4"),
        ("./a b.mp4", "a b.mp4"),
        ("i004.mp4", "fight/i004.mp4"),
    ):
        with pytest.raises(UsageError, match=f"has no row '{asked}'. Did you mean '{meant}'"):
            index.query(asked)
    with pytest.raises(UsageError, match=r"has no row 'fight/004\.mp4'. Give the path of an item"):
        index.query("fight/004.mp4")


def test_no_distance_is_below_zero(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((200, 48)).astype(np.float32)
    index = search.build(table(vectors, [str(k) for k in range(200)]), tmp_path / "index")
    nearest = [index.query(3 * vector, 1)["distance"][0].as_py() for vector in vectors]  # of itself, but for rounding
    assert min(nearest) >= 0 and max(nearest) < 1e-5
    assert not any(f"{distance:.4f}".startswith("-") for distance in nearest)


def test_names_of_any_kind(tmp_path):
    names = ["it's.png", 'a "b" %_\\.png', "näh/ж.png", "", "a\nb", "'; --"]
    vectors = np.eye(6) + 0.1 * np.arange(6)[:, None]
    index = search.build(table(vectors, names, label=["x", None, "y", "z", "'", "x"]), tmp_path / "index")
    for i, name in enumerate(names):
        found = index.query(name, 6)
        assert sorted(found["path"].to_pylist()) == sorted(names[:i] + names[i + 1 :])
        assert found.column_names == ["path", "label", "distance"]
    found = index.query(np.eye(6)[1], 1)
    assert found.select(["path", "label"]).to_pylist() == [{"path": names[1], "label": None}]


def test_a_parquet_file_is_read_in_pieces_and_keeps_what_it_knows(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 64)
    about = {"withhold": '{"source": "/data/photos", "encoder": "abc"}'}
    labels = [f"class {i % 3}" for i in range(500)]
    for name, part in {
        "float32": table(vectors, label=labels, other=list(range(500))),
        "lists": pyarrow.table({"path": [f"{i}.png" for i in range(500)], "embedding": list(vectors.astype(float))}),
    }.items():
        pyarrow.parquet.write_table(part.replace_schema_metadata(about), tmp_path / f"{name}.parquet")
        index = search.build(tmp_path / f"{name}.parquet", tmp_path / name)
        again = search.Index(tmp_path / name)
        assert (again.source, again.encoder, again.dim) == ("/data/photos", "abc", 24)
        agrees(index.query(vectors[3]), brute(vectors, vectors[3]), 10)
    found = search.Index(tmp_path / "float32").query(vectors[3], 1)
    assert found.drop_columns("distance").to_pylist() == [{"path": "3.png", "label": "class 0"}]


def test_a_query_of_another_encoder_is_refused(vectors, tmp_path):
    def embedded(part, encoder):
        return table(part).replace_schema_metadata({"withhold": f'{{"source": null, "encoder": "{encoder}"}}'})

    index = search.build(embedded(vectors, "one"), tmp_path / "index")
    agrees(index.query(embedded(vectors[:1], "one")), brute(vectors, vectors[0]), 10)
    agrees(index.query(table(vectors[:1])), brute(vectors, vectors[0]), 10)
    with pytest.raises(UsageError, match=r"has embeddings of another encoder\. Give the run that made them"):
        index.query(embedded(vectors[:1], "two"))
    with pytest.raises(UsageError, match=r"has 2 items\. Give the path of a single item"):
        index.query(embedded(vectors[:2], "one"))


def test_a_query_of_another_stage_or_pooling_is_refused(vectors, tmp_path):
    def embedded(part, pooling):
        about = {"source": None, "pooled": {"stage": None, "pooling": pooling}}
        return table(part).replace_schema_metadata({"withhold": json.dumps(about)})

    index = search.build(embedded(vectors, "MAC"), tmp_path / "index")
    agrees(index.query(embedded(vectors[:1], "MAC")), brute(vectors, vectors[0]), 10)
    agrees(index.query(table(vectors[:1])), brute(vectors, vectors[0]), 10)
    with pytest.raises(UsageError, match=r"embeddings of another stage or pooling\. .* \*\*index\.pooled, .*'MAC'"):
        index.query(embedded(vectors[:1], None))


# Windows of long items.


@pytest.fixture
def windows(tmp_path):
    """Two recordings of three windows each, the last of which overlaps; each vector points its own way."""
    spans = {"start": [0.0, 5.0, 7.5] * 2, "end": [5.0, 10.0, 12.5] * 2, "label": ["x"] * 6}
    return search.build(table(np.eye(6) + 0.1, ["a#1.wav"] * 3 + ["it's.wav"] * 3, **spans), tmp_path / "index")


def test_a_window_is_found_with_its_time_and_asked_for_by_it(windows):
    found = windows.query(np.eye(6)[4], 1)
    expected = {"path": "it's.wav", "start": 5.0, "end": 10.0, "label": "x"}
    assert found.drop_columns("distance").to_pylist() == [expected]
    for asked, row in (("it's.wav#0", 3), ("it's.wav#6", 4), ("it's.wav#9.5", 5), ("it's.wav#12.5", 5)):
        found = windows.query(asked, 6)
        assert found.num_rows == 5, "all but itself"
        assert windows.row(asked)["embedding"][0].as_py() == pytest.approx(
            (np.eye(6)[row] + 0.1) / np.linalg.norm(np.eye(6)[row] + 0.1)
        )
        assert (expected in found.drop_columns("distance").to_pylist()) == (row != 4)


def test_a_whole_recording_asks_by_the_mean_of_its_windows(windows):
    found = windows.query("a#1.wav", 6)
    assert found["path"].to_pylist() == ["it's.wav"] * 3
    mean = brute(np.eye(6)[3:] + 0.1, (np.eye(6)[:3] + 0.1).sum(0))
    np.testing.assert_allclose(found["distance"].to_numpy(), mean, atol=1e-6)


def test_a_window_that_is_not_there_is_said(windows, small):
    with pytest.raises(UsageError, match=r"it's\.wav has no window at 13; its windows are from 0 to 12\.5\."):
        windows.query("it's.wav#13")
    with pytest.raises(UsageError, match=r"has no row 'a#1\.wav#x'"):
        windows.query("a#1.wav#x")
    with pytest.raises(UsageError, match=r"7\.png was not embedded by window. Give only its path, or embed with"):
        small.query("7.png#1")


def test_columns_of_other_things_that_are_called_so_are_left_out(tmp_path):
    index = search.build(table(np.eye(2), start=["north", "south"], end=[1, 2]), tmp_path / "index")
    assert index.query("0.png").column_names == ["path", "distance"]


# The approximate index.


def clusters(count, seed, dim=32, groups=200):
    centres = np.random.default_rng(99).standard_normal((groups, dim))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, groups, count)] + 0.3 * rng.standard_normal((count, dim))).astype(np.float32)


def outliers(count, seed, dim=32):
    """Vectors with one dominant number, which takes most of the range that a byte has."""
    some = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    some[:, 0] = 50
    return some


def noise(count, seed, dim=32):
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.parametrize("draw", [clusters, noise, outliers])
def test_an_approximate_index_finds_nearly_all(draw, tmp_path):
    vectors, queries = draw(module.LEAST, 1), draw(20, 2)
    index = search.build(table(vectors), tmp_path / "index")
    assert index.approximate
    hits = 0
    for query in queries:
        distances = brute(vectors, query)
        found = index.query(query)
        rows = [int(path.removesuffix(".png")) for path in found["path"].to_pylist()]
        np.testing.assert_allclose(found["distance"].to_numpy(), distances[rows], atol=1e-6)
        hits += len(set(rows) & set(np.argsort(distances)[:10].tolist()))
    assert hits / 200 > 0.97
    agrees(index.query(queries[0], exact=True), brute(vectors, queries[0]), 10)
    assert "5.png" not in index.query("5.png")["path"].to_pylist()


def test_what_an_approximate_query_leaves_out_an_exact_one_finds(tmp_path, monkeypatch):
    """The two are different searches: with one part of three to look at, the first misses and the second does not."""
    monkeypatch.setattr(module, "PROBES", 1)
    vectors, queries = noise(module.LEAST, 1), noise(10, 2)
    index = search.build(table(vectors), tmp_path / "index")
    missed = 0
    for query in queries:
        distances = brute(vectors, query)
        agrees(index.query(query, exact=True), distances, 10)
        missed += index.query(query)["distance"].to_pylist()[-1] > np.sort(distances)[9] + 1e-6
    assert missed > 0


# What cannot be done, and the sentence for it.


def test_embeddings_that_cannot_be_searched(tmp_path):
    good = [[1.0, 2], [3, 4]]
    for embeddings, sentence in (
        (pyarrow.table({"path": ["a"]}), r"no column 'embedding' in the table \(only path\)\. Give a file"),
        (pyarrow.table({"embedding": good}), "no column 'path' in the table"),
        (pyarrow.table({"path": ["a"], "embedding": ["b"]}), "'embedding' of the table has the type string. Give"),
        (pyarrow.table({"path": ["a"], "embedding": [[1, 2]]}), "has the type list<.*int64>. Give lists of floats"),
        (pyarrow.table({"path": "ab", "embedding": [[1.0], good[0]]}), "'b' in the table does not have the length"),
        (pyarrow.table({"path": "ab", "embedding": [good[0], None]}), "'b' in the table is empty. Embed the item"),
        (pyarrow.table({"path": "ab", "embedding": [good[0], []]}), "'b' in the table is empty"),
        (table([*good, [1, np.nan]]), "'2.png' in the table is not finite. Check the run with `withhold doctor`"),
        (table([*good, [np.inf, 1]]), "'2.png' in the table is not finite"),
        (pyarrow.table({"path": ["a"], "embedding": [[1.0, None]]}), "'a' in the table is not finite"),
        (table([[0, 0], *good]), "'0.png' in the table is zero and has no direction"),
        (table(good)[:0], "There are no embeddings in the table. Embed data that is not empty"),
        (tmp_path / "none.parquet", r"There is no file '.*none.parquet'. Write one with `withhold embed RUN DATA"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=sentence):
            search.build(embeddings, tmp_path / "index")
        assert not list(tmp_path.iterdir()), "nothing is left of it"


def test_a_damaged_file_is_named(vectors, tmp_path):
    """Whether the damage is where the file is opened or far inside."""
    pyarrow.parquet.write_table(table(vectors), tmp_path / "no.parquet", compression="zstd")
    whole = (tmp_path / "no.parquet").read_bytes()
    for damaged in (b"PAR1 no", whole[:8000] + bytes(20_000) + whole[28_000:]):
        (tmp_path / "no.parquet").write_bytes(damaged)
        with pytest.raises(WithholdError, match=r"no\.parquet cannot be read as parquet \(.*\). Embed again"):
            search.build(tmp_path / "no.parquet", tmp_path / "index")
        assert [path.name for path in tmp_path.iterdir()] == ["no.parquet"]


def test_lengths_differ_in_a_later_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 2)
    vectors = [[1.0, 2]] * 4 + [[1.0, 2, 3]] * 2
    with pytest.raises(UsageError, match="'e' in the table does not have the length 2 of the first"):
        search.build(pyarrow.table({"path": "abcdef", "embedding": vectors}), tmp_path / "index")


def test_queries_that_cannot_be_asked(small):
    for query, sentence in (
        (np.ones(23), r"has 23 numbers, and the embeddings in .*index have 24\. Give the run that made them"),
        (np.ones((2, 24)), r"an array of shape \[2, 24\]\. Give one vector \[24\]"),
        (np.zeros(24), "in the query is zero and has no direction"),
        (np.full(24, np.nan), "in the query is not finite"),
    ):
        with pytest.raises(UsageError, match=sentence):
            small.query(query)
    with pytest.raises(UsageError, match="The number of neighbours must be at least 1, not 0"):
        small.query(np.ones(24), 0)


def test_places(small, vectors, tmp_path):
    with pytest.raises(UsageError, match=r"index already exists\. Choose another --out, or delete it"):
        search.build(table(vectors), small.folder)
    with pytest.raises(UsageError, match=r"The folder /proc/foo cannot be made .*\. Choose another --out"):
        search.build(table(vectors), "/proc/foo/index")
    for folder in (tmp_path, tmp_path / "nowhere", ROOT / "README.md"):
        with pytest.raises(UsageError, match=r"is not an index. Give a folder that `withhold search build` wrote"):
            search.Index(folder)
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_index_is_named(vectors, tmp_path):
    search.build(table(vectors), tmp_path / "a")
    for file in (tmp_path / "a").rglob("data/*"):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(WithholdError, match=r"The index in .*a is damaged \(.*\). Build it again"):
        search.Index(tmp_path / "a").query(vectors[0])
    search.build(table(vectors), tmp_path / "b")
    for file in (tmp_path / "b").rglob("_versions/*"):
        file.unlink()
    with pytest.raises(WithholdError, match=r"The index in .*b is damaged \(.*\). Build it again"):
        search.Index(tmp_path / "b")


def test_a_full_disk_leaves_nothing(vectors, tmp_path):
    """A limit on the size of files stands for it: the system refuses the write in the same place."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
        with pytest.raises(WithholdError, match=r"Could not write .*index \(File too large.*\)\. Free some space"):
            search.build(table(vectors), tmp_path / "index")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_a_build_that_is_stopped_leaves_nothing(vectors, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "stored_rows", stop)
    with contextlib.suppress(KeyboardInterrupt, WithholdError):
        search.build(table(vectors), tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_without_lancedb_there_is_a_sentence(vectors, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(
        UsageError, match=r"Search needs LanceDB, which is not installed. Run pip install 'withhold\[search"
    ):
        search.build(table(vectors), tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_importing_search_does_not_import_lancedb():
    code = "import sys, withhold.search; sys.exit('lancedb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
