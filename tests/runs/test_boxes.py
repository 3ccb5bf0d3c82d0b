"""Runs of methods that learn boxes: predictions and evaluation."""

import csv

import pytest
from PIL import Image

import withhold
from tests.data.test_boxes import voc, write
from withhold import answers
from withhold.cli import main
from withhold.errors import UsageError


@pytest.fixture
def things(tmp_path):
    """Sixteen images of 40 x 32 pixels with two boxes each; twelve to learn from and four others."""
    boxes = {f"{i:02d}": [("cat", 0, 1 + i, 2, 15 + i, 20), ("dog", 0, 6, 9, 20, 30)] for i in range(16)}
    folder = voc(tmp_path / "things", boxes, **dict.fromkeys(boxes, (40, 32)))
    for part, stems in (("train", [*boxes][4:]), ("test", [*boxes][:4])):
        write(folder / "ImageSets" / "Main" / f"{part}.txt", "\n".join(stems))
    return folder


@pytest.fixture
def run(things, tmp_path):
    return withhold.train("detection", things, encoder="convnet", epochs=2, out=tmp_path / "run")


def test_boxes_that_were_told_are_not_measured_on(run, things):
    assert run.config["classes"] == ["cat", "dog"]
    rows = run.evaluate(things, budget=24)
    assert {row["n_test"] for row in rows} == {4}
    assert {row["protocol"] for row in rows} == {"detection"}
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "places"}
    with pytest.raises(
        UsageError,
        match=r"was given the boxes of all test items .*\. Give boxes of other items, in a second source, or .*test",
    ):
        run.evaluate(f"{things}::train", protocols=("detection",), budget=24)


def test_what_has_learned_boxes_is_applied_next(things, tmp_path, capsys):
    out = str(tmp_path / "next")
    assert main(["train", "detection", str(things), "--encoder", "convnet", "--epochs", "1", "--out", out]) == 0
    assert f"or   withhold apply {out} DATA --out named" in capsys.readouterr().out


def test_apply_writes_one_table_of_boxes_and_an_overlay_of_each_whole_image(run, things, tmp_path):
    run.method.head.layers[-1].bias.data[:2] = 3.0  # which it has not learned to be sure of
    written = answers.apply(run, things / "JPEGImages", tmp_path / "out")
    names = [path.name for path in written]
    assert names[:2] + names[-3:] == ["00-overlay.png", "01-overlay.png", "boxes.csv", "legend.csv", "legend.png"]
    assert (tmp_path / "out" / "legend.csv").read_text() == "number,class,colour\n1,cat,#800000\n2,dog,#008000\n"
    with (tmp_path / "out" / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "name", "score", "left", "top", "right", "bottom"]
    assert {row["name"] for row in rows} <= {"cat", "dog"} and {row["path"] for row in rows} >= {"00.jpg", "15.jpg"}
    assert all(0 <= float(row["left"]) <= float(row["right"]) <= 40 for row in rows)
    with Image.open(tmp_path / "out" / "00-overlay.png") as overlay:
        assert overlay.size == (40, 32)


def test_images_that_show_nothing_alone_are_refused(things, tmp_path):
    for path in (things / "Annotations").iterdir():
        write(path, "<annotation/>")
    with pytest.raises(UsageError, match=r"No image of .*things has a box. Draw some"):
        withhold.train("detection", things, encoder="convnet", epochs=1, out=tmp_path / "other")
