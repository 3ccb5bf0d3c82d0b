"""Import and export of labels, as tables and for Label Studio."""

import json

import pytest

from withhold.errors import UsageError
from withhold.exploring import exchange

NAMES = ["photos/a/1.jpg", "photos/b/1.jpg", "photos/b/2.jpg"]
NUMBERED = {"type": "choices", "value": {"choices": [7]}}


def test_a_table_labels_by_whole_paths_ends_and_single_file_names():
    text = "path,label,more\nphotos/a/1.jpg,cat,x\n/data/photos/b/1.jpg,dog,\n2.jpg,cat,\n9.jpg,cat,\n1.jpg,dog,\n"
    items, labels, lost = exchange.from_text("\ufeff" + text, "image", NAMES)
    assert dict(zip(items, labels, strict=True)) == {0: "cat", 1: "dog", 2: "cat"}
    assert lost == 2  # 1.jpg could be either


def test_the_last_row_of_an_item_counts_and_an_empty_label_is_none():
    items, labels, _ = exchange.from_text("path,label\n2.jpg,cat\n2.jpg,dog\n2.jpg,\n", "image", NAMES)
    assert (items, labels) == ([2], ["dog"])


def test_labels_that_were_removed_on_another_page_stay_removed():
    text = "path,label,time\n2.jpg,cat,1\nphotos/a/1.jpg,dog,2\n2.jpg,,3\n"
    items, labels, _ = exchange.from_text(text, "image", NAMES)
    assert (items, labels) == ([0], ["dog"])


def test_label_studio_takes_back_what_it_was_given():
    known = [("photos/a/1.jpg", "cat"), ("photos/b/2 ü&.jpg", "dog"), ("5%20(copy).JPG", "cat"), ("#4?d=1.jpg", "dog")]
    text = exchange.to_studio(known, "image")
    assert json.loads(text)[1]["data"]["image"] == "/data/local-files/?d=photos/b/2%20%C3%BC%26.jpg"
    items, labels, lost = exchange.from_text(text, "image", [name for name, _ in known])
    assert (items, labels, lost) == ([0, 1, 2, 3], ["cat", "dog", "cat", "dog"], 0)


def test_label_studios_own_export_is_read():
    def task(image, *annotations):
        return {"id": 1, "data": {"image": image}, "annotations": list(annotations)}

    def chosen(label, **more):
        return {"result": [{"type": "choices", "value": {"choices": [label]}, "from_name": "c"}], **more}

    text = json.dumps([
        task("/data/local-files/?d=photos/a/1.jpg", chosen("cat"), chosen("dog", was_cancelled=True)),
        task("/data/upload/3/photos/b/1.jpg", chosen("cat"), chosen("dog")),
        task("https://example.org/2.jpg"),
    ])  # fmt: skip
    assert exchange.from_text(text, "image", NAMES) == ([0, 1], ["cat", "dog"], 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns path and label"),
        ("name;class\n", "columns path and label"),
        ("path,label\n9.jpg,cat\n", "labels an item here"),
        ("[1, 2]", "Label Studio"),
        ("[{", "not valid JSON"),
        ('[{"data": {"image": "1.jpg"}, "annotations": [{"result": 3}]}]', "Label Studio"),
        (json.dumps([{"data": {"image": "1.jpg"}, "annotations": [{"result": [NUMBERED]}]}]), "Label Studio"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_neither_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        exchange.from_text(text, "image", NAMES)


def test_folders_by_class_link_the_files_and_stay_inside(tmp_path):
    root = tmp_path / "data"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    known = [(NAMES[0], "cat"), (NAMES[1], "cat"), (NAMES[2], "../../up"), (NAMES[2], "..")]
    assert exchange.to_folders(known, root, tmp_path / "out") == 4
    found = {str(path.relative_to(tmp_path / "out")): path.read_text() for path in (tmp_path / "out").rglob("*.jpg")}
    assert found == {"cat/1.jpg": NAMES[0], "cat/1-2.jpg": NAMES[1], "_.._up/2.jpg": NAMES[2], "_/2.jpg": NAMES[2]}
    assert {name: (root / name).read_text() for name in NAMES} == {name: name for name in NAMES}
    with pytest.raises(UsageError, match="not a separate file"):
        exchange.to_folders([("12", "cat")], root, tmp_path / "other")


def test_every_class_has_a_folder_of_its_own(tmp_path):
    names = [f"{number}.txt" for number in range(5)]
    for name in names:
        (tmp_path / name).write_text(name)
    labels = ["a/b", "a_b", "A:b", "b", "b."]
    exchange.to_folders(list(zip(names, labels, strict=True)), tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["A_b-3", "a_b", "a_b-2", "b", "b-2"]
    with pytest.raises(UsageError, match="not a separate file"):
        exchange.to_folders([("0.txt", "a"), ("12", "a")], tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_file_with_the_name_of_a_numbered_one_replaces_nothing(tmp_path):
    names = ["x/a.txt", "y/a.txt", "z/a-2.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    exchange.to_folders([(name, "c") for name in names], tmp_path, tmp_path / "out")
    assert [(tmp_path / name).read_text() for name in names] == names
    assert sorted(path.read_text() for path in (tmp_path / "out").rglob("*.txt")) == names
