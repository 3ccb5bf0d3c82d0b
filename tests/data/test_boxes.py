"""Boxes in common formats: a VOC folder, a COCO file, YOLO's text files, and a column of a table."""

import json
import logging
import re

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from withhold import data
from withhold.data import images
from withhold.errors import UsageError, WithholdError

THING = (
    "<object><name>{}</name><difficult>{}</difficult>"
    "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
BOXES = {"a": [("cat", 0, 8, 16, 40, 48), ("dog", 1, 0, 0, 32, 32)], "b": [("cat", 0, 16, 16, 64, 64)], "c": []}
"""Of three images of 64 pixels; the third one is known to show nothing."""
CLASSES = ("cat", "dog")


def picture(path, width=64, height=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(
        np.random.default_rng(list(path.name.encode())).integers(0, 255, (height, width, 3), np.uint8)
    ).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def voc(folder, boxes=BOXES, **extents):
    for stem, things in boxes.items():
        picture(folder / "JPEGImages" / f"{stem}.jpg", *extents.get(stem, ()))
        write(
            folder / "Annotations" / f"{stem}.xml",
            "<annotation>" + "".join(THING.format(*thing) for thing in things) + "</annotation>",
        )
    return folder


def yolo(folder):
    for stem, things in BOXES.items():
        picture(folder / "images" / f"{stem}.jpg")
        lines = []
        for name, _, left, top, right, bottom in things:
            shares = np.array([left + right, top + bottom, 2 * (right - left), 2 * (bottom - top)]) / 128
            lines.append(f"{CLASSES.index(name)} {' '.join(map(str, shares))}\n")
        write(folder / "labels" / f"{stem}.txt", "".join(lines))
    write(folder / "classes.txt", "cat\ndog\n")
    return folder


def coco(folder, part="train", **changes):
    content = {
        "images": [{"id": 7 + k, "file_name": f"{stem}.jpg"} for k, stem in enumerate(BOXES)],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {
                "image_id": 7 + k, "category_id": 17 + CLASSES.index(name), "iscrowd": ignored,
                "bbox": [left, top, right - left, bottom - top],
            }
            for k, things in enumerate(BOXES.values()) for name, ignored, left, top, right, bottom in things
        ],
    }  # fmt: skip
    for stem in BOXES:
        picture(folder / f"{part}2017" / f"{stem}.jpg")
    return write(folder / "annotations" / f"instances_{part}2017.json", json.dumps(content | changes, indent=1))


def test_a_coco_file_may_list_images_that_are_missing(tmp_path):
    coco(tmp_path)
    first, *_ = sorted((tmp_path / "train2017").iterdir())
    first.unlink()
    assert len(load(tmp_path)) == len(BOXES) - 1


def manifest(folder):
    rows = []
    for stem, things in BOXES.items():
        picture(folder / f"{stem}.jpg")
        rows.append({"path": f"{stem}.jpg", "boxes": [[*box, name, ignored] for name, ignored, *box in things]})
    return write(folder / "t.jsonl", "\n".join(map(json.dumps, rows)))


def load(source, **options):
    return data.load(source, size=32, channels=3, parts=("boxes",), **options)


@pytest.mark.parametrize(("make", "ignored"), [(voc, 1), (yolo, 0), (coco, 2), (manifest, 1)])
def test_every_form_gives_the_same_boxes(tmp_path, make, ignored):
    samples = load(make(tmp_path))
    boxes = samples.parts["boxes"]
    assert boxes.classes == CLASSES
    assert [name.rpartition("/")[2][0] for name in samples.names] == ["a", "b", "c"]
    np.testing.assert_allclose(
        boxes.values,
        [
            [[4, 8, 20, 24, 0, 0], [0, 0, 16, 16, 1, ignored]],
            [[8, 8, 32, 32, 0, 0], [np.nan] * 6],
            [[np.nan] * 6, [np.nan] * 6],
        ],
    )
    assert samples.skipped == []


@pytest.mark.parametrize(
    ("database", "expected"),
    [("The VOC2007 Database", [[0, 0, 64, 64], [8, 16, 10, 48]]), ("Unknown", [[1, 1, 64, 64], [9, 17, 10, 48]])],
)
def test_pascal_voc_itself_counts_from_one_to_the_last_pixel(tmp_path, database, expected):
    things = [("cat", 0, 1, 1, 64, 64), ("dog", 0, 9, 17, 10, 48)]
    path = voc(tmp_path, {"a": things}) / "Annotations" / "a.xml"
    start = f"<annotation><source><database>{database}</database></source>"
    write(path, path.read_text().replace("<annotation>", start))
    boxes = data.load(tmp_path, size=64, parts=("boxes",)).parts["boxes"].values[0]
    assert boxes[:, :4].tolist() == expected


def test_what_the_square_hardly_shows_is_difficult_and_what_it_does_not_show_is_gone(tmp_path):
    things = [("cat", 0, 10, 0, 50, 64), ("cat", 0, 10, 0, 36, 64), ("cat", 0, 0, 0, 32, 64)]
    boxes = load(voc(tmp_path, {"a": things}, a=(128, 64))).parts["boxes"].values[0]
    assert boxes.tolist() == [[0, 0, 9, 32, 0, 0], [0, 0, 2, 32, 0, 1]]


def test_a_crowd_stays_one_however_little_the_square_shows(tmp_path):
    picture(tmp_path / "a.jpg", 128, 64)
    rows = [[10, 0, 36, 64, "cat", flag] for flag in (0, 1, 2)]
    table = write(tmp_path / "t.jsonl", json.dumps({"path": "a.jpg", "boxes": rows}))
    assert load(table).parts["boxes"].values[0].tolist() == [[0, 0, 2, 32, 0, flag] for flag in (1, 1, 2)]


def test_parts_of_voc_and_coco_share_their_classes(tmp_path):
    voc(tmp_path / "voc")
    lists = {"train": "a\n", "val": "b\n", "trainval": "a\nb\n", "test": "c\n"}
    for name, text in lists.items():
        write(tmp_path / "voc" / "ImageSets" / "Main" / f"{name}.txt", text)
    assert load(f"{tmp_path / 'voc'}::train").names == ["a.jpg", "b.jpg"]
    test = load(f"{tmp_path / 'voc'}::test")
    assert (test.names, test.parts["boxes"].classes) == (["c.jpg"], CLASSES)
    for part in ("train", "val"):
        coco(tmp_path / "coco", part)
    assert set(data.splits(tmp_path / "coco")) == {"train", "test"}
    assert load(tmp_path / "coco").parts["boxes"].classes == CLASSES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_voc_name_a_stem_in_each_line(tmp_path, encoding, caplog):
    stems = ["größe 1", "b", "c 3"]
    voc(tmp_path, dict(zip(stems, BOXES.values(), strict=True)))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name, lines in {"train": ["größe 1", "b  -1", "gone"], "test": ["c 3"]}.items():
        (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_text("\r\n".join(lines), encoding=encoding)
    assert load(f"{tmp_path}::train").names == ["größe 1.jpg", "b.jpg"]
    assert load(f"{tmp_path}::test").names == ["c 3.jpg"]
    assert "train.txt names 1 item without an image, such as gone" in caplog.text


def test_a_list_of_voc_in_another_encoding_is_named(tmp_path):
    voc(tmp_path)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name in ("train", "test"):
        (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_bytes("größe".encode("cp1252"))
    with pytest.raises(WithholdError, match=r"train\.txt cannot be read: not UTF-8 text"):
        load(tmp_path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_extent_is_that_of_the_upright_image(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (96, 64)).save(tmp_path / f"a.{ending}", exif=exif)
    path = str(tmp_path / f"a.{ending}")
    assert images.extent(path) == images.whole(path).shape[1::-1]


def test_boxes_in_a_cell_may_have_any_class_name(tmp_path):
    picture(tmp_path / "a.jpg")
    cell = json.dumps([[1, 2, 30, 40, "größe"], [1, 1, 9, 9, 'sa"y'], [1, 1, 9, 9, "a\\b"]])  # with escapes
    rows = pyarrow.table({"path": ["a.jpg"], "boxes": [cell]})
    pyarrow.parquet.write_table(rows, tmp_path / "t.parquet")
    assert set(load(tmp_path / "t.parquet").parts["boxes"].classes) == {"größe", 'sa"y', "a\\b"}


def test_yolo_without_names_has_its_numbers(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (yolo(tmp_path) / "classes.txt").unlink()
    assert load(tmp_path).parts["boxes"].classes == ("0", "1")
    assert "no classes.txt or data.yaml found; classes are named by their numbers" in caplog.text
    write(tmp_path / "labels" / "classes.txt", "cat\ndog\nhorse\n")
    assert load(tmp_path).parts["boxes"].classes == ("cat", "dog", "horse")


def test_a_yolo_folder_may_have_its_parts_on_top(tmp_path, caplog):
    """train/images and train/labels, valid/images ...; data.yaml lies beside them."""
    for part in ("train", "valid"):
        (yolo(tmp_path / part) / "classes.txt").unlink()
    write(tmp_path / "data.yaml", "train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n")
    parts = [load(f"{tmp_path}::train"), load(f"{tmp_path}::test"), load(tmp_path / "valid")]
    for samples in parts:
        assert samples.parts["boxes"].classes == ("cat", "dog") and len(samples) == len(BOXES)
    picture(tmp_path / "unlabelled" / "new.jpg")
    yolo(tmp_path / "Test")
    caplog.set_level(logging.INFO)
    load(tmp_path)
    assert "valid/ is not a part of train, test, unlabelled" in caplog.text


def test_a_class_that_the_list_lacks_comes_after_it(tmp_path):
    write(voc(tmp_path) / "classes.txt", "dog\n")
    assert load(tmp_path).parts["boxes"].classes == ("dog", "cat")


def test_classes_beside_a_folder_are_not_those_of_its_masks(tmp_path):
    write(tmp_path / "classes.txt", "cat\ndog\n")
    (yolo(tmp_path / "set") / "classes.txt").unlink()
    assert load(tmp_path / "set").parts["boxes"].classes == ("0", "1")


@pytest.mark.parametrize(
    "names",
    [
        "names: [cat, 'dog']  # two\nnc: 2\n",
        "names: [\n  cat,\n  dog,\n]\n",
        "names:\n- cat\n- dog\nnc: 2\n",
        'names:\n  1: dog\n\n  # the first one\n  0: "cat"\ntrain: images\n',
        "names: {0: cat, 1: dog}",
    ],
)
def test_yolo_is_named_by_its_data_yaml(tmp_path, names):
    (yolo(tmp_path) / "classes.txt").unlink()
    write(tmp_path / "data.yaml", f"path: .\n{names}")
    assert load(tmp_path).parts["boxes"].classes == CLASSES
    write(tmp_path / "data.yaml", "names: ['lane #1, left', no]")
    assert load(tmp_path).parts["boxes"].classes == ("lane #1, left", "no")
    for wrong in ("names: [[a], [b]]", "names:\n- name: cat\n"):
        write(tmp_path / "data.yaml", wrong)
        with pytest.raises(WithholdError, match=r"data\.yaml cannot be read: its names are not a list of texts"):
            load(tmp_path)
    write(tmp_path / "data.yaml", "names: [cat")
    with pytest.raises(WithholdError, match=r"data\.yaml cannot be read: it is not YAML"):
        load(tmp_path)
    write(tmp_path / "data.yaml", "names:\n  0: cat\n  2: dog\n")
    with pytest.raises(WithholdError, match=r"data\.yaml cannot be read: the numbers of its names are not 0, 1, 2"):
        load(tmp_path)


def test_of_several_forms_the_one_that_is_used_is_said(tmp_path, caplog):
    voc(tmp_path), yolo(tmp_path), coco(tmp_path)
    samples = load(tmp_path)
    reason = "boxes in another format; those of Annotations/*.xml are used"
    assert samples.names == ["a.jpg", "b.jpg", "c.jpg"]
    assert samples.skipped == [("instances_train2017.json", reason), ("labels", reason)]
    assert f"files left out: 2 ({reason})" in caplog.text


def test_boxes_that_cannot_be_are_left_out_and_named(tmp_path, caplog):
    things = [("cat", 0, 5, 5, 5, 9), ("cat", 0, 70, 5, 90, 9), ("cat", 0, 40, 40, 80, 60), ("dog", 0, 1, 1, 9, 9)]
    samples = load(voc(tmp_path, BOXES | {"a": things}))
    assert samples.parts["boxes"].values[0, :, :4].tolist() == [[20, 20, 32, 30], [0.5, 0.5, 4.5, 4.5]]
    assert samples.skipped == [
        ("a.jpg", "a box of no area: [5.0, 5.0, 5.0, 9.0]"),
        ("a.jpg", "a box outside of its 64 x 64 pixels: [70.0, 5.0, 90.0, 9.0]"),
    ]
    assert "2 boxes are left out, such as in a.jpg" in caplog.text
    assert "1 boxes extend beyond their images and are cropped" in caplog.text


def test_an_image_without_annotation_is_left_out_and_an_annotation_without_image_is_said(tmp_path, caplog):
    (voc(tmp_path) / "Annotations" / "b.xml").rename(tmp_path / "Annotations" / "z.xml")
    samples = load(tmp_path)
    assert samples.names == ["a.jpg", "c.jpg"]
    assert ("b.jpg", "it has no annotation") in samples.skipped
    assert "1 left out, such as b.jpg (it has no annotation)" in caplog.text
    assert "boxes without an image, such as Annotations/z.xml" in caplog.text
    with pytest.raises(WithholdError, match=r"b\.jpg in .* cannot be used: it has no annotation"):
        load(tmp_path, strict=True)
    table = write(tmp_path / "t.csv", 'path,boxes\nJPEGImages/a.jpg,"[[0, 0, 9, 9]]"\nJPEGImages/c.jpg,\n')
    samples = load(table)
    assert (samples.names, samples.parts["boxes"].classes) == (["JPEGImages/a.jpg"], ("object",))


def test_a_class_of_no_box_is_said(tmp_path, caplog):
    path = coco(tmp_path, categories=[{"id": k, "name": n} for k, n in ((17, "cat"), (18, "dog"), (19, "cow"))])
    assert load(path).parts["boxes"].classes == ("cat", "dog", "cow")
    assert "no image has a box of 'cow'" in caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": [{"image_id": 3}]}, "annotation 0 has the image_id 3, which is not in images"),
        (
            {"annotations": [{"image_id": 7, "category_id": 3}]},
            "annotation 0 has the category_id 3, which is not in categories",
        ),
        ({"annotations": [{"image_id": 7, "category_id": 17}]}, "but an entry has no 'bbox'"),
        (
            {"annotations": [{"image_id": 7, "category_id": 17, "bbox": [1, 2, 3]}]},
            "the bbox of annotation 0 is not left",
        ),
    ],
)
def test_a_coco_file_that_does_not_fit_together_is_named(tmp_path, changes, said):
    with pytest.raises(WithholdError, match=f"instances_train2017.json is inconsistent: .*{said}"):
        load(coco(tmp_path, **changes))


def test_malformed_annotations_are_named(tmp_path):
    path = coco(tmp_path / "coco")
    write(path, path.read_text().replace('"file_name": "b', '"file_name" "b'))
    with pytest.raises(WithholdError, match=r"cannot be read as json: Expecting ':' delimiter: line 9"):
        load(path)


@pytest.mark.parametrize(
    ("make", "file", "text", "said"),
    [
        (voc, "Annotations/b.xml", "", "Annotations/b.xml cannot be read as boxes: no element found: line 1"),
        (voc, "Annotations/b.xml", "<annotation>\n<object>", "b.xml cannot be read as boxes: no element found: line 2"),
        (voc, "Annotations/b.xml", "<a><object/></a>", "object 1 has no xmin, ymin, xmax, ymax in a bndbox"),
        (yolo, "labels/b.txt", "0 0.5 0.5 0.1 0.1\n1 0.5\n", "line 2 is not a class, x, y, width and height"),
        (yolo, "labels/b.txt", "7 0.5 0.5 0.1 0.1\n", "line 1 has the class 7, but only 2 are named, from 0"),
    ],
)
def test_an_image_whose_annotation_cannot_be_read_is_left_out(tmp_path, caplog, make, file, text, said):
    write(make(tmp_path) / file, text)
    samples = load(tmp_path)
    assert samples.names == ["a.jpg", "c.jpg"]
    ((name, reason),) = samples.skipped
    assert name == "b.jpg" and said in reason and ".." not in reason
    assert "1 left out, such as b.jpg (" in caplog.text and said in caplog.text
    with pytest.raises(WithholdError, match=rf"b\.jpg in .* cannot be used: .*{re.escape(said)}"):
        load(tmp_path, strict=True)


def test_a_cell_that_holds_no_boxes_is_left_out_and_where_all_are_the_reason_is_said(tmp_path):
    for name in "ab":
        picture(tmp_path / f"{name}.jpg")
    table = write(tmp_path / "t.csv", 'path,boxes\na.jpg,"[[0, 0, 9, 9]]"\nb.jpg,nine\n')
    samples = load(table)
    assert samples.names == ["a.jpg"]
    assert samples.skipped[0][1].startswith("'nine' is not a list of boxes; give each as [left, top")
    with pytest.raises(WithholdError, match=r"can be read as image and boxes: 'nine' is not a list of boxes"):
        load(write(table, "path,boxes\nb.jpg,nine\n"))


def test_a_source_without_boxes_says_how_to_give_some(tmp_path):
    picture(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match=r"has no boxes\. Give a VOC, COCO or YOLO folder"):
        load(tmp_path)
