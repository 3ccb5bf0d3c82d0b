"""Labels from a file of their own: what matched is said, and what cannot be is refused."""

import logging

import pytest
from PIL import Image

from withhold import data
from withhold.errors import UsageError


@pytest.fixture
def folder(tmp_path, photos):
    for name, photo in zip(("a.png", "b.png", "c.png"), photos, strict=False):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(photo).save(tmp_path / "photos" / name)
    return tmp_path


def load(folder, *rows):
    (folder / "few.csv").write_text("\n".join(["path,label", *rows]))
    return data.load(folder / "photos", size=32, labels=folder / "few.csv")


def test_what_matched_and_what_did_not_is_said(folder, caplog):
    caplog.set_level(logging.INFO, "withhold")
    samples = load(folder, "a.png,cat", "photos/b.png,dog", "gone.png,zebra")
    assert [samples.classes[label] if label >= 0 else None for label in samples.labels] == ["cat", "dog", None]
    said = [record.getMessage() for record in caplog.records]
    assert f"{folder / 'few.csv'} labels 2 of 3 items in {folder / 'photos'}" in said
    assert "1 of its rows match nothing there, such as gone.png" in said


def test_two_labels_of_one_item_are_refused_and_one_twice_is_not(folder):
    assert load(folder, "a.png,cat", "photos/a.png,cat", "b.png,dog").labels.tolist() == [0, 1, -1]
    with pytest.raises(UsageError, match=r"gives a.png two labels, 'cat' and 'dog' \(as photos/a.png\): keep one"):
        load(folder, "a.png,cat", "photos/a.png,dog")
