"""Every source that a user names is read correctly, or refused in one clear sentence."""

import contextlib
import gzip
import json
import os
import struct
import zipfile

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from tests.data.recordings import write_sound, write_video
from withhold import data
from withhold.data import sources, texts
from withhold.data.images import encode
from withhold.data.kind import Unreadable
from withhold.data.tables import Documents
from withhold.data.texts import Texts
from withhold.errors import UsageError, WithholdError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def write_table(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)


def test_a_nested_folder_gives_classes_and_names(image_folder):
    folder, pixels = image_folder(
        "cat/1.png", "cat/deep/2.png", "dog/1.png", ".hidden/x.png", "dog/.y.png", size=(32, 32)
    )
    samples = data.load(folder)
    assert samples.classes == ("cat", "dog")
    assert dict(zip(samples.names, samples.labels.tolist(), strict=True)) == {
        "cat/1.png": 0,
        "cat/deep/2.png": 0,
        "dog/1.png": 1,
    }
    for name, image in zip(samples.names, samples.array, strict=True):
        assert (image == pixels[name]).all()


@pytest.mark.parametrize("limit", ["1GB", "1KB"])  # cached, and decoded whenever it is asked for
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ("cat/1.png", "cat/2.png", "dog/1.png", "stray.png"),
            r" \(stray.png is not in a sub-folder like the others: move it to its class, or to unlabelled\)",
        ),
        (("only/1.png", "only/2.png"), r" \(all its items are in one sub-folder, only\)"),
        (("1.png", "2.png"), ""),
    ],
)
def test_a_folder_has_no_classes_unless_several_sub_folders_hold_everything(
    image_folder, names, reason, limit, monkeypatch
):
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", limit)
    samples = data.load(image_folder(*names)[0])
    assert samples.labels is None
    for part in (samples, samples.select([1, 0])):
        with pytest.raises(UsageError, match=rf"photos has no labels{reason}, but the probe needs them\. Sort it into"):
            part.labelled("the probe")


def test_folders_called_train_and_test_are_splits_with_the_same_classes(image_folder):
    folder, _ = image_folder("train/ant/1.png", "train/bee/1.png", "train/cow/1.png", "val/cow/1.png", "val/ant/1.png")
    parts = data.splits(folder)
    assert parts == {"train": f"{folder}::train", "test": f"{folder}::test"}
    train, test = data.load(parts["train"]), data.load(parts["test"])
    assert train.classes == test.classes == ("ant", "bee", "cow")
    assert test.labels.tolist() == [0, 2]
    assert len(data.load(folder)) == 3  # asked for no split, it gives train
    assert data.splits(parts["train"]) == {}
    with pytest.raises(UsageError, match="has no split 'tset': did you mean test"):
        data.load(f"{folder}::tset")


def test_a_part_may_have_one_class_alone_where_another_part_has_more(image_folder):
    folder, _ = image_folder("train/good/1.png", "train/good/2.png", "test/good/3.png", "test/bent/4.png")
    train, test = map(data.load, data.splits(folder).values())
    assert train.classes == test.classes == ("bent", "good")
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 1], [0, 1])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled", "unsup"])
def test_a_folder_of_unlabelled_images_beside_train_is_a_part_and_no_class(image_folder, name, packed):
    names = ("train/cat/1.png", "train/dog/2.png", f"{name}/a/3.png", f"{name}/b/4.png", "notes/5.png")
    folder, _ = image_folder(*names)
    source = zipped(folder) if packed else folder
    samples = data.load(source)
    assert samples.classes == ("cat", "dog")
    assert samples.names == ["cat/1.png", "dog/2.png"]
    assert samples.skipped == [("notes/5.png", "it is not in a part of train, unlabelled")]
    more = data.load(f"{source}::unlabelled")
    assert more.names == ["a/3.png", "b/4.png"]
    assert more.labels is None
    assert data.splits(source) == {}  # there is nothing to test on


def test_without_a_folder_called_train_every_folder_is_a_class(image_folder):
    assert data.load(image_folder("test/1.png", "val/2.png")[0]).classes == ("test", "val")
    assert data.load(image_folder("train/1.png", "bus/2.png", folder="traffic")[0]).classes == ("bus", "train")
    samples = data.load(image_folder("pos/1.png", "unsup/2.png", "neg/3.png", folder="reviews")[0])
    assert samples.classes == ("neg", "pos")  # the inner folder of IMDB's training part
    assert samples.labels.tolist() == [0, 1, -1]


def test_the_unlabelled_part_of_a_hugging_face_data_set_is_no_class(hub_cache):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    labels = {"train": [0, 1], "test": [1, 0], "unsupervised": [-1, -1]}
    sets = {
        part: datasets.Dataset.from_dict({"text": ["x", "y"], "label": column}, features=features)
        for part, column in labels.items()
    }
    found = sources.tables(datasets.DatasetDict(sets), Texts)
    assert list(found) == ["train", "test", "unlabelled"]
    assert found["unlabelled"].labels == [-1, -1]
    assert list(data.splits(datasets.DatasetDict(sets))) == ["train", "test"]


def test_every_ending_of_an_image_is_known(tmp_path):
    kinds = {"a.jfif": "JPEG", "b.JPE": "JPEG", "c.avif": "AVIF", "d.TIF": "TIFF"}
    for name, kind in kinds.items():
        Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / name, kind)
    samples = data.load(tmp_path)
    assert samples.names == list(kinds)
    assert samples.skipped == []


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_no_kind_reads_are_counted_and_listed(image_folder, caplog, packed):
    folder, _ = image_folder("cat/1.png", "dog/2.png")
    for name in ("cat/3.xcf", "cat/4.PSD", "dog/5.psd", "dog/6", "dog/notes.txt", "labels.csv", ".hidden.psd"):
        (folder / name).write_text("no")
    source = zipped(folder) if packed else folder
    with zipfile.ZipFile(source, "a") if packed else contextlib.nullcontext() as archive:
        if packed:
            archive.write(folder / "dog/6", "dog/6")
    for samples in (data.load(source), data.load(source, strict=True)):
        assert samples.names == ["cat/1.png", "dog/2.png"]
        assert sorted(samples.skipped) == [
            ("cat/3.xcf", ".xcf is not supported"),
            ("cat/4.PSD", ".psd is not supported"),
            ("dog/5.psd", ".psd is not supported"),
            ("dog/6", "no file extension"),
            ("dog/notes.txt", ".txt files are not images"),
        ]
    assert "files left out: 2 (.psd is not supported), 1 (.xcf is not supported)" in caplog.text


@pytest.mark.parametrize("packed", [False, True])
def test_a_stray_file_among_those_of_another_kind_is_not_what_was_meant(image_folder, packed):
    folder, _ = image_folder(*(f"cat/{k}.png" for k in range(10)))
    (folder / "notes.txt").write_text("words")
    source = zipped(folder) if packed else folder
    asked = (
        "has only 1 document, such as notes.txt, but 10 files of other kinds, such as cat/0.png. Give a folder of docum"
    )
    with pytest.raises(UsageError, match=asked):
        data.load(source, "text")
    assert data.holds(source, ("text", "image")) == "image"
    (folder / "cat" / "0.png").unlink()
    (table,) = sources.tables(folder, Texts).values()
    assert [len(table), len(table.ignored), table.ignored[0][1]] == [1, 9, ".png files are not documents"]


def test_what_is_no_regular_file_is_not_opened(image_folder):
    folder, _ = image_folder("1.png")
    os.mkfifo(folder / "2.png")
    (folder / "3.png").symlink_to(folder / "gone.png")
    samples = data.load(folder)
    assert samples.names == ["1.png"]
    assert samples.skipped == [("3.png", "missing file")]
    os.mkfifo(folder / "4.txt")
    with pytest.raises(Unreadable, match="not a regular file"):
        texts.read(Documents(str(folder), ["4.txt"]).items([0])[0])


def test_parquet_files_of_different_columns_are_refused_and_damaged_ones_too(tmp_path):
    write_table(tmp_path / "a.parquet", image=[encode(PIXELS[0])], label=["x"])
    write_table(tmp_path / "b.parquet", image=[encode(PIXELS[0])])
    with pytest.raises(UsageError, match=r"b.parquet and .*a.parquet have different columns"):
        data.load(tmp_path)
    (tmp_path / "b.parquet").unlink()
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:200] = bytes(196)
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(WithholdError, match=r"a\.parquet cannot be read as parquet") as caught:
        data.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_parquet_of_paths_sees_that_a_file_changed(image_folder):
    folder, _ = image_folder("1.png", "2.png", size=(32, 32))
    write_table(folder / "list.parquet", filename=["1.png", ".\\2.png"])
    before = data.load(folder / "list.parquet")
    assert len(before) == 2
    _, pixels = image_folder("2.png", size=(32, 32), seed=5)
    assert (data.load(folder / "list.parquet").array[1] == pixels["2.png"]).all()


def test_structs_and_data_sets_of_paths_see_that_a_file_changed(image_folder, hub_cache):
    import datasets

    folder, pixels = image_folder("1.png", "2.png", size=(32, 32))
    rows = [{"bytes": None, "path": "1.png"}, {"bytes": encode(pixels["2.png"]), "path": "elsewhere.png"}]
    write_table(folder / "list.parquet", image=rows)
    paths = [str(folder / name) for name in ("1.png", "2.png")]

    def load():
        listed = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
        return [data.load(source, size=32).array[0] for source in (folder / "list.parquet", listed)]

    for seed in (0, 5):
        _, pixels = image_folder("1.png", size=(32, 32), seed=seed)
        assert all((found == pixels["1.png"]).all() for found in load())


def test_a_link_that_leads_back_up_is_not_followed_for_ever(image_folder):
    folder, _ = image_folder("a/1.png", "b/2.png")
    (folder / "a" / "loop").symlink_to(folder)
    assert len(data.load(folder)) == 2


def zipped(folder, wrapper=""):
    """The folder as an archive beside it, wrapped in more folders or not, with what a Mac adds to archives."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(f"{wrapper}empty.png")
        archive.writestr(f"__MACOSX/{wrapper}._1.png", "no image")
        for file in sorted(folder.rglob("*.*"), reverse=True):
            archive.write(file, wrapper + str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize("limit", ["1GB", "1KB"])  # cached, and decoded whenever it is asked for
@pytest.mark.parametrize("wrapper", ["", "photos/", "./a/b/"])
def test_an_archive_is_like_the_folder_that_was_packed(image_folder, wrapper, limit, monkeypatch, hub_cache):
    folder, _ = image_folder("cat/1.png", "cat/deep/2.png", "dog/1.png", ".hidden/x.png", "dog/.y.png")
    (folder / "dog" / "broken.png").write_text("no")
    path = zipped(folder, wrapper)
    expected = data.load(folder)
    assert data.measure(path) == data.Shape(40, 3)
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", limit)
    samples = data.load(path)
    rows = [samples.names.index(name) for name in expected.names]
    assert (samples.batch(rows) == data.load(folder).batch(range(3))).all()
    assert samples.classes == expected.classes == ("cat", "dog")
    assert samples.labels[rows].tolist() == expected.labels.tolist() == [0, 0, 1]
    samples.batch(range(len(samples)))  # whatever is not cached is found to be broken now
    assert samples.skipped == [("dog/broken.png", "not an image")]
    opened = data.open(path)
    assert opened["image"][0] == {"bytes": (folder / "cat" / "1.png").read_bytes(), "path": "cat/1.png"}


def test_an_archive_is_read_an_image_at_a_time_and_what_is_damaged_is_skipped(image_folder, hub_cache):
    folder, pixels = image_folder("a/1.png", "a/2.png", "b/1.png", size=(32, 32))
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    start = content.find(b"a/2.png") + 60  # in the middle of the compressed data
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)
    (table,) = sources.tables(path).values()
    assert all(map(callable, table.items(range(3))))
    samples = data.load(path)
    assert samples.names == ["a/1.png", "b/1.png"]
    assert (samples.array == [pixels["a/1.png"], pixels["b/1.png"]]).all()
    assert [name for name, _ in samples.skipped] == ["a/2.png"]
    assert [len(image["bytes"]) > 0 for image in data.open(path)["image"]] == [True, False, True]
    assert [name for name, _ in data.each_image(path)] == ["a/1.png", "b/1.png"]


def test_an_archive_may_hold_splits(image_folder):
    folder, _ = image_folder("train/ant/1.png", "train/bee/1.png", "Valid/bee/1.png", "Valid/ant/1.png")
    path = zipped(folder, "photos/")
    parts = data.splits(path)
    assert parts == {"train": f"{path}::train", "test": f"{path}::test"}
    assert data.load(parts["train"]).names == ["ant/1.png", "bee/1.png"]
    assert data.load(parts["test"]).labels.tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_manifests_of_paths_are_relative_to_themselves(image_folder, kind, monkeypatch, tmp_path):
    folder, pixels = image_folder("x/1.png", "2.png", "3.png", size=(32, 32))
    paths, labels = ["x/1.png", str(folder / "2.png"), "3.png"], ["b", "a", ""]
    manifest = folder / f"list.{kind}"
    if kind == "csv":
        manifest.write_text("File,Class\n" + "".join(f"{p},{c}\n" for p, c in zip(paths, labels, strict=True)))
    elif kind == "jsonl":
        manifest.write_text(
            "".join(json.dumps({"image": p, "label": c}) + "\n" for p, c in zip(paths, labels, strict=True))
        )
    else:
        write_table(manifest, filename=paths, target=labels)
    samples = data.load(manifest)
    assert samples.classes == ("a", "b")
    assert samples.labels.tolist() == [1, 0, -1]
    assert (samples.array == np.stack(list(pixels.values()))).all()


@pytest.mark.parametrize("nested", [True, False])
def test_parquet_with_encoded_images(tmp_path, nested, hub_cache):
    files = [encode(image) for image in PIXELS]
    column = [{"bytes": file, "path": f"{row}.png"} for row, file in enumerate(files)] if nested else files
    write_table(tmp_path / "data.parquet", image=column, label=[3, 1, None, 2, 0, 1])
    samples = data.load(tmp_path / "data.parquet")
    assert (samples.array == PIXELS).all()
    assert samples.labels.tolist() == [3, 1, -1, 2, 0, 1]
    assert samples.names[4] == ("4.png" if nested else "4")
    again = data.open(tmp_path / "data.parquet")
    assert again[4]["image"]["bytes"] == files[4]
    assert again["label"] == [3, 1, None, 2, 0, 1]


def test_a_folder_of_parquet_files(tmp_path):
    for name, part in {"train-0": [0, 1], "train-1": [2, 3], "test": [4, 5]}.items():
        write_table(
            tmp_path / f"{name}.parquet", image=[encode(PIXELS[i]) for i in part], label=[f"c{i % 3}" for i in part]
        )
    parts = data.splits(tmp_path)
    train, test = data.load(parts["train"]), data.load(parts["test"])
    assert (train.array == PIXELS[:4]).all()
    assert (test.array == PIXELS[4:]).all()
    assert train.classes == test.classes == ("c0", "c1", "c2")
    assert test.labels.tolist() == [1, 2]
    with pytest.raises(UsageError, match="has no splits"):
        data.load(f"{tmp_path / 'test.parquet'}::test")


def test_parts_of_parquet_may_number_their_classes_differently(tmp_path):
    parts = {"train": (["cat", "dog"], [0, 1]), "test": (["dog", "cat"], [0, -2]), "unlabelled": (None, ["dog", ""])}
    for part, (names, labels) in parts.items():
        features = {"label": {"names": names, "_type": "ClassLabel"}} if names else {}
        table = pyarrow.table({"image": list(map(encode, PIXELS[:2])), "label": labels})
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        pyarrow.parquet.write_table(table.replace_schema_metadata(about), tmp_path / f"{part}.parquet")
    found = {part: data.load(f"{tmp_path}::{part}") for part in parts}
    assert {samples.classes for samples in found.values()} == {("cat", "dog")}
    assert {part: samples.labels.tolist() for part, samples in found.items()} == {
        "train": [0, 1], "test": [1, -1], "unlabelled": [1, -1],
    }  # fmt: skip
    assert data.load(tmp_path / "test.parquet").labels.tolist() == [0, -1]
    (tmp_path / "unlabelled.parquet").unlink()
    write_table(tmp_path / "test.parquet", image=list(map(encode, PIXELS[:2])), label=[1, 0])  # numbers without names
    train, test = (data.load(f"{tmp_path}::{part}") for part in ("train", "test"))
    assert train.classes == test.classes == ("cat", "dog")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [1, 0])


def write_idx(path, values):
    header = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def test_idx_files_find_their_labels_and_their_splits(tmp_path):
    for part, rows in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", PIXELS[rows, ..., 0])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(6)[rows])
    samples = data.load(tmp_path / "t10k-images-idx3-ubyte.gz")
    assert (samples.array == PIXELS[4:, ..., :1]).all()
    assert samples.labels.tolist() == [0, 1]
    assert samples.classes == ("4", "5")
    parts = data.splits(tmp_path)
    assert data.load(parts["train"]).labels.tolist() == [0, 1, 2, 3]
    assert data.load(parts["test"]).labels.tolist() == [4, 5]


def test_an_image_may_have_idx_in_its_name(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "idx1.png")
    assert (data.load(tmp_path / "idx1.png", size=PIXELS.shape[1]).array == PIXELS[:1]).all()


def test_npz_with_and_without_splits(tmp_path):
    np.savez(tmp_path / "one.npz", images=PIXELS, labels=np.arange(6)[:, None])
    assert data.load(tmp_path / "one.npz").labels.tolist() == [0, 1, 2, 3, 4, 5]
    np.savez(tmp_path / "two.npz", x_train=PIXELS[:4], y_train=[5, 6, 7, 8], x_test=PIXELS[4:], y_test=[5, 8])
    parts = data.splits(tmp_path / "two.npz")
    assert (data.load(parts["train"]).array == PIXELS[:4]).all()
    assert data.load(parts["test"]).labels.tolist() == [0, 3]
    assert data.load(parts["test"]).classes == ("5", "6", "7", "8")


def test_digits_are_scaled_to_bytes():
    from sklearn.datasets import load_digits

    samples = data.load("digits", size=8)
    assert samples.shape == (8, 8, 1)
    assert np.abs(samples.array[..., 0] - load_digits().images * 255 / 16).max() <= 0.5
    assert (samples.labels == load_digits().target).all()


def test_arrays_in_every_layout():
    import torch

    wanted = data.load(PIXELS).array
    assert (wanted == PIXELS).all()
    assert (data.load(np.moveaxis(PIXELS, 3, 1)).array == PIXELS).all()
    assert (data.load(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)).array == PIXELS).all()
    assert (data.load(PIXELS[..., 0]).array == PIXELS[..., :1]).all()
    labelled = data.load((PIXELS, [0, 1, 2, -1, 0, 1]))
    assert labelled.labels.tolist() == [0, 1, 2, -1, 0, 1]
    assert data.load(labelled) is labelled


def test_a_list_of_paths_and_a_single_image(image_folder):
    folder, pixels = image_folder("1.png", "2.png", size=(32, 32))
    assert (
        data.load([folder / "2.png", str(folder / "1.png")]).array == np.stack([pixels["2.png"], pixels["1.png"]])
    ).all()
    assert (data.load(folder / "1.png").array[0] == pixels["1.png"]).all()
    names = dict(data.each_image(folder))
    assert (names["2.png"].permute(1, 2, 0).numpy() == pixels["2.png"]).all()


@pytest.mark.parametrize("saved", [False, True])
def test_hugging_face_data_sets(tmp_path, saved, hub_cache):
    import datasets

    features = datasets.Features({"img": datasets.Image(), "fine": datasets.ClassLabel(names=["x", "y"])})
    rows = {"img": [{"bytes": encode(image), "path": None} for image in PIXELS], "fine": [0, 1, 1, 0, 1, 0]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    both = datasets.DatasetDict({"train": whole.select(range(4)), "validation": whole.select(range(4, 6))})
    if saved:
        both.save_to_disk(tmp_path / "saved")
        parts = data.splits(f"hf:{tmp_path / 'saved'}")
    else:
        parts = data.splits(both)
    train, test = data.load(parts["train"]), data.load(parts["test"])
    assert (train.array == PIXELS[:4]).all()
    assert test.labels.tolist() == [1, 0]
    assert test.classes == ("x", "y")
    assert data.load(whole).stamp == data.load(whole).stamp


def test_anything_opens_as_a_hugging_face_data_set(image_folder, hub_cache):
    folder, _ = image_folder("a/1.png", "b/2.png")
    opened = data.open(folder)
    assert opened["image"] == [{"bytes": None, "path": str(folder / name)} for name in ("a/1.png", "b/2.png")]
    assert opened.features["label"].names == ["a", "b"]
    assert opened["name"] == ["a/1.png", "b/2.png"]
    assert (data.load(data.open("digits"), size=8).array == data.load("digits", size=8).array).all()


def test_measure(image_folder):
    folder, _ = image_folder("1.png", "2.png", "3.png", size=(50, 70))
    assert data.measure(folder) == data.Shape(50, 3)
    assert data.measure("digits") == data.Shape(8, 1)
    assert data.load(folder).shape == (52, 52, 3)  # a multiple of four
    assert data.load(folder, size=20, channels=1).shape == (20, 20, 1)
    assert data.load("digits").shape == (32, 32, 1)  # never below 32
    assert data.load(image_folder("1.png", folder="large", size=(200, 300))[0]).shape == (96, 96, 3)  # nor above 96


def test_the_default_size_fits_the_images_and_the_patches():
    assert [data.default_size(side) for side in (8, 32, 33, 96, 500)] == [32, 32, 36, 96, 96]
    assert [data.default_size(side, most=224) for side in (8, 97, 128, 129, 200, 500)] == [32, 100, 128, 144, 208, 224]


def test_labels_from_a_file_of_their_own(image_folder, tmp_path):
    folder, _ = image_folder("cat/1.png", "cat/2.png", "dog/1.png", "dog/3.png")
    few = tmp_path / "few.csv"
    few.write_text("path,label\nphotos/cat/1.png,cat\n3.png,dog\n")
    samples = data.load(folder, labels=few)
    assert samples.labels.tolist() == [0, -1, -1, 1]
    few.write_text("name,label\ndog/1.png,wolf\n")
    assert data.load(folder, labels=few).classes == ("wolf",)
    few.write_text("name,label\nnowhere.png,wolf\n")
    with pytest.raises(
        UsageError,
        match=r"few.csv matches an item .* in it is 'nowhere.png', a name in the data is 'cat/1.png'",
    ):
        data.load(folder, labels=few)
    with pytest.raises(UsageError, match="There is no file of labels"):
        data.load(folder, labels=tmp_path / "many.csv")


def test_bad_sources_are_refused_in_one_sentence(tmp_path, image_folder):
    image_folder("1.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    np.save(tmp_path / "alone", PIXELS)
    (tmp_path / "alone.npy").rename(tmp_path / "alone.npz")
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "bad-idx.gz").write_bytes(b"nothing")
    (tmp_path / "odd.csv").write_text("colour,size\nred,3\n")
    (tmp_path / "none.csv").write_text("path\n")
    np.savez(tmp_path / "odd.npz", weights=PIXELS)
    np.savez(tmp_path / "float.npz", x=PIXELS / 255)
    write_table(tmp_path / "odd.parquet", a=[1], b=[2])
    (tmp_path / "bad.zip").write_bytes(b"PK nothing")
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with zipfile.ZipFile(tmp_path / "secret.zip", "w") as archive:
        archive.writestr("a.png", encode(PIXELS[0]))
        archive.infolist()[0].flag_bits |= sources.ENCRYPTED  # as it is written to the directory of the archive
    for name, kind, sentence in (
        ("phots", UsageError, r"There is no file or folder '.*phots': did you mean photos\?"),
        ("empty", UsageError, r"empty is empty\. Give a folder with images"),
        ("texts", UsageError, r"texts has no images\. Give a folder with \.jpg"),
        ("texts/a.txt", UsageError, r"a.txt has no images\. Give a folder"),
        (
            "odd.csv",
            UsageError,
            r"odd.csv has no column of images \(it has colour, size\)\. Name it one of image, img, path",
        ),
        ("none.csv", UsageError, "none.csv lists no image"),
        ("odd.parquet", UsageError, r"odd.parquet has no column of images \(it has a, b\)"),
        ("odd.npz", UsageError, r"odd.npz has no array of images \(it has weights\)"),
        ("float.npz", UsageError, r"float.npz are float64\. Give uint8 values in 0..255"),
        ("texts.zip", UsageError, r"texts.zip has no images\. Give an archive with .jpg"),
        ("secret.zip", UsageError, r"secret.zip is encrypted\. Unpack it and give the folder"),
        ("bad.zip", WithholdError, r"bad.zip cannot be read as zip \(File is not a zip file\)\. Copy or download"),
        ("bad.npz", WithholdError, "bad.npz cannot be read as npz"),
        ("alone.npz", WithholdError, "alone.npz cannot be read as npz"),
        ("bad.parquet", WithholdError, "bad.parquet cannot be read as parquet"),
        ("bad.jsonl", WithholdError, "bad.jsonl cannot be read as jsonl"),
        ("bad-idx.gz", WithholdError, "bad-idx.gz cannot be read as IDX"),
    ):
        with pytest.raises(kind, match=sentence) as caught:
            data.load(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_bad_requests_are_refused_in_one_sentence():
    for source, options, sentence in (
        ([], {}, "The list of images is empty"),
        (PIXELS.astype(float), {}, "The images in the array are float64"),
        (PIXELS[0, 0], {}, r"have the shape \[32, 3\]"),
        ((PIXELS, [1, 2]), {}, "There are 6 items but 2 labels"),
        (PIXELS, {"size": 0}, "Give a size of 1 or more"),
        (PIXELS, {"channels": 2}, "cannot have 2 channels"),
        (PIXELS, {"kind": "sound"}, "There is no kind of data 'sound'"),
        ([PIXELS, PIXELS], {}, "The list has items that are not paths"),
        (5, {}, r"The data are a int\. Give a folder"),
        ({"array": [PIXELS[0, 0, :, 0] / 255], "sampling_rate": 0}, {"kind": "audio"}, "A sampling rate of 0 is not"),
    ):
        with pytest.raises(UsageError, match=sentence):
            data.load(source, **options)


def test_an_unknown_hugging_face_name_is_one_sentence(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WithholdError, match="hf:nobody/nothing could not be loaded") as caught:
        data.load("hf:nobody/nothing")
    assert "\n" not in str(caught.value)


def test_real_files(real_data):
    cifar = data.splits(str(real_data / "cifar10"))
    test = data.load(cifar["test"])
    assert len(test) == 10_000
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes[6] == "frog"
    assert data.measure(real_data / "mnist") == data.Shape(28, 1)
    usps = data.load(f"{real_data / 'usps' / 'usps.npz'}::test", size=16)
    assert np.bincount(usps.labels).tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert data.measure(real_data / "pacs") == data.Shape(96, 3)
    assert data.measure(real_data / "bccd") == data.Shape(480, 3)


def test_items_are_found_again_by_source_and_name(image_folder, tmp_path, monkeypatch):
    """From within another folder too, and without those that are gone."""
    folder, pixels = image_folder("a/1.png", "a/2.png", "b/1.png", size=(32, 32))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in pixels:
            archive.write(folder / name, name)
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(f"photos/{name}" for name in pixels))
    write_table(tmp_path / "rows.parquet", image=[encode(image) for image in pixels.values()])
    monkeypatch.chdir(tmp_path)
    known = {source: data.address(source) for source in ("photos", "photos.zip", "list.csv", "rows.parquet", "digits")}
    monkeypatch.chdir("/")
    for source, address in known.items():
        samples = data.load(address, size=32, channels=3)
        names = [samples.names[2], "nowhere.png", samples.names[0], samples.names[2]]
        first, none, second, again = data.items(address, names)
        assert none is None, source
        for item, row in ((first, 2), (second, 0), (again, 2)):
            small = data.thumbnail(item, 32)
            pixels = data.load("digits", size=8).array[row, ..., 0] if source == "digits" else samples.array[row]
            assert (np.asarray(small) == pixels).all(), source
    assert known["digits"] == "digits"
    assert known["photos"] == str(tmp_path / "photos")
    assert data.address("photos::test") == "/photos::test"
    assert data.address(tmp_path) == str(tmp_path)
    assert data.address("hf:mnist") == "hf:mnist"
    assert data.address(PIXELS) is None
    assert data.items(str(tmp_path / "gone"), ["a", "b"]) == [None, None]
    assert data.items(None, ["a.png"]) == ["a.png"]


def test_items_of_every_kind_are_found_again(tmp_path):
    for name in ("a.mp4", "c.wav", "d.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert data.items(tmp_path, ["a.mp4", "c.wav"], "video") == [str(tmp_path / "a.mp4"), None]
    assert data.items(tmp_path, ["a.mp4"], "video + audio") == [str(tmp_path / "a.mp4")]
    assert data.items(tmp_path, ["a.mp4", "c.wav"], "audio") == [str(tmp_path / "a.mp4"), str(tmp_path / "c.wav")]
    (text,) = data.items(tmp_path, ["d.txt"], "text")
    assert text() == b"d.txt"
    assert data.items(["one", "two"], ["1"], "text") == ["two"]
    assert data.items(None, ["a.wav"], "audio") == ["a.wav"]
    assert data.items(None, ["1"], "text") == [None]


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        (("a/1.wav", "a/2.wav", "b/3.wav", "b/cover.png"), "audio", "1 (.png files are not sounds)"),
        (("1.wav", "cover.png"), "image", "1 (.wav files are not images)"),
        (
            ("1.mkv", "2.mkv", "1.png", "notes.txt"),
            "video",
            "1 (.png files are not videos), 1 (.txt files are not videos)",
        ),
        (("1.mkv", "2.mkv"), "video", None),
        (("a/1.png", "a/2.png", "b/1.png"), "image", None),
        (("1.txt", "2.txt"), "text", None),
        (("1.wav", "table.csv"), "audio", None),
    ],
)
def test_a_folder_is_of_the_kind_that_most_of_it_is(names, kind, said, tmp_path, caplog):
    make = {
        "wav": lambda path: write_sound(path, np.ones(400) / 2, 8000),
        "mkv": lambda path: write_video(path, PIXELS, 8),
        "png": lambda path: path.write_bytes(encode(PIXELS[0])),
        "txt": lambda path: path.write_text("words"),
        "csv": lambda path: path.write_text("title"),
    }
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make[name[-3:]](tmp_path / name)
    assert data.holds(str(tmp_path), ("image", "video", "audio", "text")) == kind
    if kind != "text":  # which is read with a tokenizer
        data.load(str(tmp_path), kind)
    found = [line for line in caplog.messages if "left out" in line]
    assert found == ([] if said is None else [f"{tmp_path}: files left out: {said}"])


def test_what_holds_nothing_that_can_be_read_says_why(tmp_path):
    (tmp_path / "1.wav").touch()
    assert (
        data.holds({"array": PIXELS[0, 0].T.astype(np.float32), "sampling_rate": 4000}, ("image", "audio")) == "audio"
    )
    with pytest.raises(UsageError, match="has no images"):
        data.holds(str(tmp_path), ("image", "audio"))
    (tmp_path / "1.png").write_bytes(encode(PIXELS[0]))
    assert data.holds(str(tmp_path), ("audio", "image")) == "image"


def test_images_in_folders_have_no_sound(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(encode(PIXELS[0]))
    with pytest.raises(UsageError, match=r"has images, but no video with sound\. Give videos with sound"):
        data.load(str(tmp_path), "video + audio", size=16)
