"""Data too large for the cache gives the same batches, decoded on demand."""

import csv

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import withhold
from withhold import data
from withhold.data import cache, images
from withhold.errors import WithholdError
from withhold.needs import parse


@pytest.fixture
def no_room(monkeypatch):
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1KB")


def test_a_stream_gives_what_the_cache_would(image_folder, monkeypatch):
    folder, _ = image_folder(*(f"{label}/{i}.png" for label in "ab" for i in range(8)))
    cached = data.load(folder)
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1KB")
    monkeypatch.setenv("WITHHOLD_CACHE", str(folder.parent / "another"))
    cache_free = data.load(folder)
    assert cache.entries() == []
    assert (cache_free.array == cached.array).all()
    assert (cache_free.names, cache_free.classes) == (cached.names, cached.classes)
    assert cache_free.labels.tolist() == cached.labels.tolist()
    assert cache_free.shape == cached.shape
    for parts in zip(cached.split(0.25, seed=0), cache_free.split(0.25, seed=0), strict=True):
        feeders = [data.Feeder({"images": part}, {"images": parse("image + label")}, 3, seed=1) for part in parts]
        for one, two in zip(*(feeder.iterate(0, 9) for feeder in feeders), strict=True):
            assert all((a == b).all() for a, b in zip(one["images"], two["images"], strict=True))


def test_corrupt_items_give_way_to_the_next_of_their_class(image_folder, no_room):
    folder, pixels = image_folder("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", size=(32, 32))
    (folder / "a/3.png").write_text("no")
    (folder / "b/1.png").write_bytes(b"")
    samples = data.load(folder)
    assert samples.skipped == []  # nothing has been read yet
    for _ in range(2):
        images = samples.batch(np.arange(5)).permute(0, 2, 3, 1).numpy()
        assert (images[2] == pixels["a/1.png"]).all()
        assert (images[3] == pixels["b/2.png"]).all()
        assert (images[[0, 1, 4]] == np.stack([pixels[name] for name in ("a/1.png", "a/2.png", "b/2.png")])).all()
    assert samples.skipped == [("a/3.png", "not an image"), ("b/1.png", "empty file")]
    assert samples.select([3, 4]).skipped is samples.skipped
    with pytest.raises(WithholdError, match=r"a/3.png cannot be read: not an image"):
        data.load(folder, strict=True).batch([2])
    again = data.load(folder)
    again.batch([0]), again.batch([1])
    (folder / "a/1.png").write_text("no")
    assert (again.batch([0]).permute(0, 2, 3, 1).numpy() == pixels["a/2.png"]).all()  # it was readable before
    for path in folder.rglob("*.png"):
        path.write_text("no")
    with pytest.raises(
        WithholdError, match=r"b/1.png cannot be read \(not an image\), and neither can any item that could replace it"
    ):
        data.load(folder, size=32, channels=3).batch([3])


def test_files_that_disappear_are_looked_for_once(image_folder, no_room, monkeypatch):
    """A disk that is gone must end a training with an error, not with a search that takes hours."""
    folder, _ = image_folder(*(f"{i}.png" for i in range(60)), size=(32, 32))
    samples = data.load(folder)
    for rows in np.arange(60).reshape(6, 10):
        samples.batch(rows)
    decoded, attempt = [], images.Images.attempt
    monkeypatch.setattr(images.Images, "attempt", lambda kind, item: decoded.append(1) or attempt(kind, item))
    for path in folder.glob("*.png"):
        path.unlink()
    with pytest.raises(WithholdError, match=r"cannot be read \(missing file\), and neither can any item"):
        samples.batch(np.arange(10))
    assert len(decoded) <= 2 * 60


def test_what_replaces_an_item_is_of_the_same_samples(image_folder, no_room):
    """Items of a test set must not stand in for those of a training set."""
    folder, _ = image_folder(*(f"{label}/{i}.png" for label in "ab" for i in range(8)), size=(32, 32))
    train, test = data.load(folder).split(0.5, seed=0)
    for name in train.names[1:-1]:
        (folder / name).write_text("no")
    held = test.batch(np.arange(len(test))).numpy().tolist()
    assert all(image not in held for image in train.batch(np.arange(len(train))).numpy().tolist())


def test_a_file_of_labels_decides_who_replaces_whom(image_folder, no_room, tmp_path):
    folder, pixels = image_folder("1.png", "2.png", "3.png", "4.png", size=(32, 32))
    (folder / "1.png").write_text("no")
    (tmp_path / "few.csv").write_text("path,label\n1.png,x\n3.png,x\n")
    replaced = data.load(folder, labels=tmp_path / "few.csv").batch([0]).permute(0, 2, 3, 1).numpy()
    assert (replaced == pixels["3.png"]).all()


def test_an_embedding_has_no_row_for_what_cannot_be_read(image_folder, tmp_path, monkeypatch):
    """Training goes on with a neighbour, whose vector must not stand under another name."""
    folder, _ = image_folder(*(f"{k}.png" for k in range(8)))
    run = withhold.train("autoencoder", folder, epochs=1, batch_size=4, out=tmp_path / "run")
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1KB")
    monkeypatch.setenv("WITHHOLD_CACHE", str(tmp_path / "small"))
    (folder / "3.png").write_text("no")
    table = run.embed(folder)
    assert table["path"].to_pylist() == [f"{k}.png" for k in (0, 1, 2, 4, 5, 6, 7)]
    assert len({tuple(row) for row in table["embedding"].to_pylist()}) == 7


def test_parquet_streams_row_by_row(tmp_path, no_room, hub_cache):
    from withhold.data.images import encode

    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    parquet.write_table(
        pyarrow.table({"bytes": [encode(image) for image in pixels], "label": [*range(9)]}), tmp_path / "x.parquet"
    )
    samples = data.load(tmp_path / "x.parquet")
    assert (samples.batch([7, 2]).permute(0, 2, 3, 1).numpy() == pixels[[7, 2]]).all()
    assert samples.labels.tolist() == [*range(9)]


@pytest.fixture
def rows(tmp_path):
    """Rows of a table: six images of one grey value each, and their masks, whose palettes number them."""
    for k in range(6):
        Image.fromarray(np.full((32, 32, 3), 10 * k, np.uint8)).save(tmp_path / f"{k}.png")
        mask = Image.fromarray(np.full((32, 32), k, np.uint8))
        mask.putpalette([137, 140, 148] * 6)
        mask.save(tmp_path / f"mask{k}.png")
    return [
        {"image": f"{k}.png", "mask": f"mask{k}.png", "pose": f"[{k}]", "boxes": f"[[0, 0, 32, {k + 1}]]",
         "label": "ab"[k % 2], "text": f"word{k} " * 5} for k in range(6)
    ]  # fmt: skip


def write(file, rows):
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


WHOLE = parse("image + label + mask + poses + boxes + number")


@pytest.mark.parametrize("labelled", [True, False])
def test_all_of_a_row_gives_way_to_one_neighbour(rows, no_room, tmp_path, labelled):
    (tmp_path / "2.png").write_text("no")
    (tmp_path / "mask3.png").unlink()
    parts = tuple(name for name in WHOLE.parts if labelled or name != "label")
    source = write(tmp_path / "t.csv", [row if labelled else {**row, "label": ""} for row in rows])
    samples = data.load(source, parts=parts)
    for chosen in (np.arange(6), np.array([2, 4, 0, 3, 5])):
        some = samples.select(chosen)
        places = np.arange(len(some))
        images = some.batch(places)[:, 0, 0, 0] // 10
        labels, masks, poses, boxes, numbers = some.beside(WHOLE, places)
        of = {2: 4, 3: 5 if labelled or len(some) == 5 else 4} | {k: k for k in (0, 1, 4, 5)}
        assert images.tolist() == [of[k] for k in chosen.tolist()]
        assert masks[:, 0, 0].tolist() == poses[:, 0].tolist() == images.tolist()
        assert boxes[:, 0, 3].tolist() == [k + 1 for k in images.tolist()]
        assert chosen[numbers].tolist() == images.tolist()
        assert not labelled or labels.tolist() == [k % 2 for k in images.tolist()]
        assert some.readable().tolist() == [place for place, k in enumerate(chosen) if k not in (2, 3)]
    assert sorted(samples.skipped) == [("2.png", "not an image"), ("mask3.png", "missing file")]
    with pytest.raises(WithholdError, match=r"2.png cannot be read: not an image"):
        data.load(source, parts=parts, strict=True).batch([2])


def test_a_row_takes_another_label_where_its_own_has_no_other(rows, no_room, tmp_path):
    (tmp_path / "mask2.png").unlink()
    rows[2]["label"] = "alone"
    samples = data.load(write(tmp_path / "t.csv", rows), parts=("label", "mask"))
    labels, masks = samples.beside(parse("image + label + mask"), np.array([2]))
    assert samples.batch([2])[0, 0, 0, 0] == 30
    assert (samples.classes[labels[0]], masks[0, 0, 0].item()) == ("b", 3)
    for mask in tmp_path.glob("mask*.png"):
        mask.unlink()
    with pytest.raises(WithholdError, match=r"0.png cannot be read \(it has|0.png cannot be read"):
        data.load(tmp_path / "t.csv", parts=("mask",)).batch([0])


def test_a_text_gives_way_with_its_image(rows, no_room, tmp_path):
    (tmp_path / "2.png").write_text("no")
    source = write(tmp_path / "t.csv", [{"image": row["image"], "text": row["text"]} for row in rows])
    coder = data.fit_tokenizer([(source, "image + text")], "words")
    coder.save(str(tmp_path / "tokenizer.json"))
    samples = data.load(source, "image + text", tokenizer=str(tmp_path / "tokenizer.json"), tokens=4).windows()
    images, texts = samples.batch([1, 2])
    assert (images[:, 0, 0, 0] // 10).tolist() == [1, 3]
    assert [coder.id_to_token(text[0]) for text in texts.tolist()] == ["word1", "word3"]
    assert samples.skipped == [("2.png", "not an image")]


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_of_what_is_not_wanted_whole_only_what_is_asked_for_is_decoded(image_folder, tmp_path, monkeypatch, form):
    folder, _ = image_folder("a/1.png", "a/2.png", "b/1.png", size=(40, 32))
    if form == "parquet":
        names = ("a/1.png", "a/2.png", "b/1.png")
        rows = [{"image": (folder / name).read_bytes(), "label": name[0]} for name in names]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    source = folder if form == "folder" else tmp_path / "rows.parquet"
    decoded, decode = [], images.decode
    monkeypatch.setattr(images, "decode", lambda *given: decoded.append(1) or decode(*given))
    monkeypatch.setenv("WITHHOLD_CACHE", str(tmp_path / "cache"))
    peeked = data.load(source, size=16, channels=3, whole=False)
    assert len(decoded) == 0
    found = peeked.select([2]).batch([0])
    assert len(decoded) == 1
    whole = data.load(source, size=16, channels=3)
    assert (found == whole.batch([2])).all()
    assert peeked.labels.tolist() == whole.labels.tolist()
    assert len(decoded) == 4
