"""Runs of methods that learn masks: predictions and evaluation."""

import numpy as np
import pytest
from PIL import Image

import withhold
from tests.data.test_boxes import voc
from withhold import answers
from withhold.errors import UsageError


@pytest.fixture
def scenes(tmp_path, photos):
    """Photographs, 40 x 32 pixels, whose masks say what is light; twelve to learn from and four others."""
    for i in range(16):
        wide = np.concatenate([photos[i], photos[i][:, :8]], 1)
        mask = Image.fromarray((wide.mean(2) > wide.mean()).astype(np.uint8))
        for sort, picture in (("images", Image.fromarray(wide)), ("masks", mask)):
            folder = tmp_path / "scenes" / sort / ("test" if i % 4 == 0 else "train")
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{i}.png")
    (tmp_path / "scenes" / "classes.txt").write_text("dark\nlight\n")
    return tmp_path / "scenes"


@pytest.fixture
def run(scenes, tmp_path):
    return withhold.train("segmentation", scenes, encoder="convnet", epochs=2, out=tmp_path / "run")


def test_masks_that_were_told_are_not_measured_on(run, scenes):
    rows = run.evaluate(scenes, budget=24)
    assert {row["n_test"] for row in rows} == {4}
    assert {row["protocol"] for row in rows} == {"segmentation"}
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "majority", "colour"}
    with pytest.raises(UsageError, match=r"training was given the masks of all test items .*\. Give masks of other"):
        run.evaluate(f"{scenes}::train", protocols=("segmentation",), budget=24)


def test_masks_train_a_pretrained_encoder_at_the_full_learning_rate(run, scenes, tmp_path):
    again = withhold.train("segmentation", scenes, encoder=str(run.folder), epochs=1, out=tmp_path / "again")
    assert (again.config["training"]["encoder_lr"], again.config["training"]["layer_decay"]) == (1.0, 1.0)


def test_data_without_masks_are_refused_in_words_of_masks(run, tmp_path):
    with pytest.raises(
        UsageError, match=r"boxes has no masks\. Give a folder with images/NAME\.jpg and masks/NAME\.png"
    ):
        run.evaluate(voc(tmp_path / "boxes"))


def test_apply_writes_a_mask_with_a_palette_and_an_overlay_of_the_whole_image(run, scenes, tmp_path):
    written = answers.apply(run, scenes / "images" / "test", tmp_path / "out")
    assert sorted(path.name for path in written)[:2] == ["0-mask.png", "0-overlay.png"]
    with Image.open(tmp_path / "out" / "0-mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", (40, 32))
        assert set(np.unique(mask)) <= {0, 1}
    with Image.open(tmp_path / "out" / "0-overlay.png") as overlay:
        assert overlay.size == (40, 32)
    first, second = run.method.classes
    assert (tmp_path / "out" / "legend.csv").read_text() == (
        f"number,class,colour\n0,{first},#000000\n1,{second},#800000\n"
    )
    with Image.open(tmp_path / "out" / "legend.png") as legend:
        assert {(0, 0, 0), (128, 0, 0)} <= {colour for _, colour in legend.getcolors(10_000)}


def test_masks_of_one_class_are_refused(scenes, tmp_path):
    (scenes / "classes.txt").write_text("dark\nvoid\n")
    with pytest.raises(
        UsageError, match=r"have fewer than two classes besides 255, which is ignored\. Number the pixels' classes"
    ):
        withhold.train("segmentation", scenes, encoder="convnet", epochs=1, out=tmp_path / "other")
