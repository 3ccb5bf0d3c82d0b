"""Columns of parquet files and of Hugging Face datasets: which are items and labels, and what names items have."""

import io

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from withhold import data
from withhold.errors import UsageError, WithholdError

datasets = pytest.importorskip("datasets")


def encoded(value):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (value,) * 3).save(file, "PNG")
    return file.getvalue()


def grey(samples):
    """The brightness of each image."""
    return [int(samples.batch([row]).float().mean()) for row in range(len(samples))]


@pytest.fixture(params=["parquet", "dataset"])
def make(request, tmp_path, hub_cache):
    """The same columns, with Hugging Face's features, as a parquet file and as a dataset."""

    def source(columns, **features):
        found = datasets.Dataset.from_dict(columns)
        for name, feature in features.items():
            found = found.cast_column(name, feature)
        if request.param == "parquet":
            found.to_parquet(tmp_path / "t.parquet")
            return tmp_path / "t.parquet"
        return found

    return source


def test_the_column_of_images_is_chosen_by_its_name(make):
    parts = {name: [{"bytes": encoded(value), "path": None}] * 3 for name, value in (("mask", 1), ("image", 200))}
    source = make(parts, mask=datasets.Image(), image=datasets.Image())
    assert grey(data.load(source, size=32)) == [200] * 3


def test_embedded_images_of_one_name_are_different_items(make, tmp_path):
    images = [{"bytes": encoded(value), "path": f"{name}.png"} for value, name in ((10, 1), (20, 1), (30, 2))]
    source = make({"image": images}, image=datasets.Image())
    (labels := tmp_path / "few.csv").write_text("path,label\n1/1.png,cat\n2.png,dog\n")
    samples = data.load(source, size=32, labels=str(labels))
    assert samples.names == ["0/1.png", "1/1.png", "2.png"]
    assert samples.labels.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("labels", [[[0, 1], [1], []], [{"bytes": b"1", "path": None}] * 3])
def test_a_column_that_holds_no_classes_is_no_label(make, labels, tmp_path):
    source = make({"image": [encoded(value) for value in (1, 2, 3)], "label": labels})
    samples = data.load(source, size=32)
    assert samples.labels is None
    with pytest.raises(UsageError, match=r"has no labels \(its column label holds no classes\)"):
        samples.labelled("the test")


def test_pixels_in_a_column_are_whole_numbers(make):
    for order in ("hw", "hwc", "chw"):
        images = np.stack([np.full((32, 32), value) for value in (10, 20, 30)])
        images = {"hw": images, "hwc": images[..., None], "chw": images[:, None]}[order]
        assert grey(data.load(make({"image": images.tolist()}), size=32)) == [10, 20, 30], order
    for wrong in (np.full((3, 32, 32), 0.5), np.full((3, 32, 32), 300)):
        with pytest.raises(WithholdError, match=r"Give whole numbers from 0 to 255, of shape \[h, w\]"):
            data.load(make({"image": wrong.tolist()}), size=32)


def test_files_with_other_class_names_are_refused(tmp_path, hub_cache):
    (tmp_path / "set").mkdir()
    for shard, names in enumerate((["cat", "dog"], ["dog", "eel"])):
        features = datasets.Features({"image": datasets.Value("binary"), "label": datasets.ClassLabel(names=names)})
        rows = {"image": [encoded(1), encoded(2)], "label": [0, 1]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / f"train-{shard}.parquet")
    with pytest.raises(UsageError, match=r"train-1.parquet and .*train-0.parquet have different class names"):
        data.load(tmp_path / "set", size=32)


def test_paths_may_be_categories_and_keep_their_names_in_a_stream(tmp_path, hub_cache, monkeypatch):
    for row in range(3):
        (tmp_path / f"{row}.png").write_bytes(encoded(row))
    names = [f"{row}.png" for row in range(3)]
    parquet.write_table(pyarrow.table({"path": pyarrow.array(names).dictionary_encode()}), tmp_path / "t.parquet")
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1KB")
    streamed = data.load(tmp_path / "t.parquet", size=32)
    assert not isinstance(streamed.values, np.ndarray) and streamed.names == names
    monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1GB")
    assert data.load(tmp_path / "t.parquet", size=32).names == names


def test_a_struct_needs_no_field_of_paths(tmp_path):
    rows = [{"bytes": encoded(row), "filepath": "x"} for row in range(3)]
    parquet.write_table(pyarrow.table({"image": rows}), tmp_path / "t.parquet")
    assert grey(data.load(tmp_path / "t.parquet", size=32)) == [0, 1, 2]
