"""Labels from a separate file: matches are reported, and invalid labels refused."""

import logging
import unicodedata

import numpy as np
import pytest
from PIL import Image

from withhold import data
from withhold.data.labels import places
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
    assert f"1 rows of {folder / 'few.csv'} match no item of {folder / 'photos'}, such as gone.png" in said


def test_rows_of_another_part_label_nothing(folder, photos):
    for part in ("train", "test"):
        (folder / "both" / part).mkdir(parents=True)
        for name, photo in zip(("a.png", "b.png"), photos, strict=False):
            Image.fromarray(photo).save(folder / "both" / part / name)
    (folder / "few.csv").write_text("path,label\ntrain/a.png,cat\nboth/test/a.png,dog\nval/x/a.png,dog\nb.png,dog\n")
    for source in ("both", "both::train", "both/train", "both::test", "both/test"):
        samples = data.load(str(folder / source), size=32, labels=folder / "few.csv")
        first = "dog" if source.endswith("test") else "cat"
        assert [samples.classes[label] for label in samples.labels] == [first, "dog"]


def test_an_item_that_is_listed_twice_has_its_label_in_both_rows(folder):
    (folder / "photos" / "list.csv").write_text("path\nb.png\na.png\nb.png\n")
    (folder / "few.csv").write_text("path,label\nb.png,dog\n")
    samples = data.load(folder / "photos" / "list.csv", size=32, labels=folder / "few.csv")
    assert samples.names == ["b.png", "a.png", "b.png"]
    assert samples.labels.tolist() == [0, -1, 0]


def test_accented_letters_match_however_they_are_composed(folder):
    decomposed = unicodedata.normalize("NFD", "café.png")
    (folder / "photos" / "a.png").rename(folder / "photos" / decomposed)
    samples = load(folder, "café.png,thé", f"b.png,{unicodedata.normalize('NFD', 'thé')}", "c.png,lait")
    assert samples.labels.tolist() == [1, 0, 1]
    assert samples.classes == ("lait", "thé")
    place = places([unicodedata.normalize("NFD", "café/1.jpg"), "dog/2.jpg"])
    assert (place("1.jpg"), place("café/1.jpg"), place("2.jpg")) == (0, 0, 1)


def test_labels_that_are_no_files_are_refused(folder):
    for labels in ({"a.png": "cat"}, 5, [3]):
        with pytest.raises(UsageError, match="Labels are read from files"):
            data.load(folder / "photos", size=32, labels=labels)
    (folder / "few.csv").write_text("path,label\na.png,cat\n")
    samples = data.load(folder / "photos", size=32, labels=(path for path in [folder / "few.csv"]))
    assert samples.labels.tolist() == [0, -1, -1]


def test_two_labels_of_one_item_are_refused_and_one_twice_is_not(folder):
    assert load(folder, "a.png,cat", "photos/a.png,cat", "b.png,dog").labels.tolist() == [0, 1, -1]
    with pytest.raises(UsageError, match=r"gives a.png two labels, 'cat' and 'dog' \(as photos/a.png\)\. Keep one"):
        load(folder, "a.png,cat", "photos/a.png,dog")


def test_of_labels_as_they_were_given_the_last_one_of_an_item_counts(folder):
    rows = "a.png,cat,1\nb.png,cat,2\nc.png,dog,3\na.png,dog,4\nb.png,,5\n"
    (folder / "few.csv").write_text(f"path,label,time\n{rows}")
    samples = data.load(folder / "photos", size=32, labels=folder / "few.csv")
    assert [samples.classes[label] if label >= 0 else None for label in samples.labels] == ["dog", None, "dog"]


def test_several_files_are_one_and_what_they_disagree_on_is_named(folder, caplog):
    caplog.set_level(logging.INFO, "withhold")
    few, more = folder / "few.csv", folder / "more.csv"
    few.write_text("path,label\na.png,2\nb.png,\n")
    more.write_text("path,label\nb.png,10\na.png,2.0\nc.png,\n")
    assert data.load(folder / "photos", size=32, labels=[]).labels is None
    samples = data.load(folder / "photos", size=32, labels=[few, more])
    assert (samples.labels.tolist(), samples.classes) == ([0, 1, -1], ("2", "10"))
    assert f"{few} labels 1 of 3 items in {folder / 'photos'}" in caplog.messages
    assert f"{more} labels 2 of 3 items in {folder / 'photos'}" in caplog.messages
    more.write_text("path,label\nphotos/a.png,10\n")
    with pytest.raises(UsageError, match=r"few.csv and .*more.csv give a.png two labels, '2' and '10' \(as photos/a"):
        data.load(folder / "photos", size=32, labels=[few, more])
    more.write_text("path,label\nother.png,10\n")
    with pytest.raises(UsageError, match=r"more.csv matches an item of .*photos: a name in it is 'other.png'"):
        data.load(folder / "photos", size=32, labels=[few, more])


def test_the_ending_and_capital_letters_of_a_name_count(folder):
    assert load(folder, "a.png,cat", "A.png,dog", "b,dog", "there/photos/c.png,dog").labels.tolist() == [0, -1, 1]


def test_names_of_windows_and_empty_tables_of_labels(folder):
    assert load(folder, "photos\\a.png,cat", " b.png , dog ").labels.tolist() == [0, 1, -1]
    with pytest.raises(UsageError, match=r"few.csv is empty\. Add the columns path and label"):
        load(folder)


def test_labels_of_the_file_are_the_classes_of_the_data_where_they_can_be(folder):
    (folder / "all.csv").write_text("path,label\nphotos/a.png,0\nphotos/b.png,1\nphotos/c.png,-1\n")
    (folder / "few.csv").write_text("path,label\na.png,1.0\nb.png,\n")
    samples = data.load(folder / "all.csv", size=32, labels=folder / "few.csv")
    assert samples.classes == ("-1", "0", "1")
    assert samples.labels.tolist() == [2, -1, -1]


def test_sets_share_one_table_of_classes_by_name():
    first, second, third = np.array([0, 1, -1]), np.array([1, 0]), np.array([0, -1])
    labels, classes = data.share_classes(
        [(first, ("cat", "dog")), (second, ("ant", "dog")), (None, ()), (third, ("1.0",))]
    )
    assert classes == ("cat", "dog", "ant", "1.0")
    assert [None if part is None else part.tolist() for part in labels] == [[0, 1, -1], [1, 2], None, [3, -1]]
    labels, classes = data.share_classes([(first, ("0", "1")), (second, ("1.0", "2.0")), (third, ("2.5",))])
    assert classes == ("0", "1", "2.0", "2.5")
    assert labels[1].tolist() == [2, 1]


def test_equal_numbers_are_one_class_unless_one_set_tells_them_apart():
    def share(*sets):
        return data.share_classes([(np.arange(len(names)), names) for names in sets])

    (_, numbers), classes = share(("1", "2", "odd"), ("1.0", "2.50", "none"))
    assert (numbers.tolist(), classes) == ([0, 3, 4], ("1", "2", "odd", "2.50", "none"))
    for several in (("01", "1", "1.0"), ("1",)), (("1",), ("01", "1", "1.0")), (("1.00",), ("01", "1", "1.0")):
        numbers, classes = share(*several)
        assert set(classes) == {*several[0], *several[1]}
        assert [[classes[i] for i in part] for part in numbers] == [list(names) for names in several]
    for names in ("9007199254740992", "9007199254740993.0"), ("1e999999999999999999999", "2"):
        assert share(names[:1], names[1:])[1] == names


def test_a_table_without_paths_is_said_in_words_of_labels(tmp_path, image_folder):
    folder, _ = image_folder("1.png", "2.png")
    (tmp_path / "few.csv").write_text("text,label\nhello,a\n")
    with pytest.raises(UsageError, match=r"no column path \(it has text, label\)\. Give it the columns path"):
        data.load(folder, labels=tmp_path / "few.csv")
