"""Predictions of a trained method for files, and the picture of its inputs."""

import csv
import logging

import av
import numpy as np
import pytest
from PIL import Image

from withhold.answers import apply
from withhold.cli import main
from withhold.errors import UsageError, WithholdError
from withhold.runs import export, preview


@pytest.fixture
def run(make_run):
    return make_run("restorer", method="autoencoder", channels=3)


@pytest.fixture
def photos_folder(tmp_path, photos):
    folder = tmp_path / "photos"
    for name, crop in zip(("a.jpg", "deep/a.png", "deep/b.png"), photos, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(folder / name)
    return folder


def test_one_of_anything_is_no_plural(run, photos_folder, tmp_path, capsys):
    photo, table, index = str(photos_folder / "a.jpg"), str(tmp_path / "emb.parquet"), str(tmp_path / "index")
    assert main(["embed", str(run.folder), photo, "--out", table]) == 0
    assert main(["search", "build", table, "--out", index]) == 0
    assert main(["apply", str(run.folder), photo, "--out", str(tmp_path / "made")]) == 0
    embedded, _, built, _, made = capsys.readouterr().out.splitlines()
    assert embedded == f"Wrote 1 embedding of 256 numbers to {table}"
    assert built.startswith("Indexed 1 embedding of dimension 256 in")
    assert made == f"Wrote 2 files to {tmp_path / 'made'}"


def test_a_picture_is_what_its_name_says(photos_folder, tmp_path):
    preview("rotation", str(photos_folder), out=tmp_path / "seen.jpg", size=32)
    assert Image.open(tmp_path / "seen.jpg").format == "JPEG"
    with pytest.raises(
        UsageError, match=r"seen\.pqg must end in \.png or \.jpg or \.jpeg or \.webp\. Choose another file name\."
    ):
        preview("rotation", str(photos_folder), out=tmp_path / "seen.pqg", size=32)


def test_what_cannot_be_read_is_skipped_and_named(run, photos_folder, tmp_path, caplog):
    (photos_folder / "deep" / "broken.png").write_text("no")
    (photos_folder / "empty.jpg").touch()
    written = apply(run, str(photos_folder), tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").parent.as_posix() for path in written} == {".", "deep"}
    assert sorted(written) == sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert {path.name.split("-")[0] for path in written} == {"a", "b"}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"empty.jpg in {photos_folder} is skipped: empty file.",
        f"deep/broken.png in {photos_folder} is skipped: not an image.",
        f"Of the 5 images in {photos_folder}, 2 could not be read.",
    ]


def test_nothing_readable_is_an_error(run, tmp_path):
    (tmp_path / "broken").mkdir()
    for name in "ab":
        (tmp_path / "broken" / f"{name}.png").write_text("no")
    with pytest.raises(WithholdError, match=r"None of the 2 images in .*broken can be read \(a.png: not an image\)\."):
        apply(run, str(tmp_path / "broken"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_list_of_files_elsewhere_stays_inside_the_folder(run, photos_folder, tmp_path):
    (tmp_path / "lists").mkdir()
    names = ["../photos/a.jpg", *(str(photos_folder / "deep" / f"{name}.png") for name in "ab")]
    with open(tmp_path / "lists" / "all.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path"], *([name] for name in names)])
    written = apply(run, str(tmp_path / "lists" / "all.csv"), tmp_path / "lists" / "out")
    assert len(set(written)) == len(written) == 3 * len({path.stem.split("-")[1] for path in written})
    assert all(path.is_file() and ".." not in path.parts for path in written)
    assert all(path.is_relative_to(tmp_path / "lists" / "out") for path in written)


def test_a_folder_that_cannot_be_is_one_sentence(run, photos_folder, tmp_path):
    (tmp_path / "file").touch()
    for out, sentence in (
        ("file/new", r"file is a file, but must be a folder\. Choose another --out"),
        ("file/deep/new", r"file/deep cannot be made \(Not a directory\)\. Choose another --out"),
    ):
        with pytest.raises(UsageError, match=sentence):
            apply(run, str(photos_folder), tmp_path / out)
        with pytest.raises(UsageError, match=sentence):
            preview("rotation", photos_folder, out=(tmp_path / out).with_name("views.png"))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=r"folder\.png is a folder, but must be a file\. Give the path"):
        preview("rotation", photos_folder, out=tmp_path / "folder.png")


def test_the_picture_is_written(photos_folder, tmp_path):
    preview("rotation", photos_folder, out=tmp_path / "new" / "views.png")
    with Image.open(tmp_path / "new" / "views.png") as image:
        assert image.format == "PNG"
        assert np.asarray(image).std() > 0


@pytest.fixture
def forecaster(make_run):
    encoder = {"name": "convnet-lstm", "size": 32, "channels": 3, "pretrained": False}
    decoding = {"size": 32, "channels": 3, "frames": 4, "fps": 5.0}
    return make_run(
        "forecaster",
        method="frame_prediction",
        parameters={"frames": 4, "fps": 5.0},
        encoder=encoder,
        decoding=decoding,
    )


def test_a_network_of_clips_is_written_as_onnx(forecaster, tmp_path):
    assert export(forecaster, "onnx", tmp_path / "encoder.onnx") < 1e-3
    assert export(forecaster, "safetensors", tmp_path / "encoder.safetensors") == 0.0


def test_a_video_comes_back_as_an_animation(forecaster, tmp_path, photos):
    for number, crop in enumerate(photos[:30]):
        path = tmp_path / "videos" / "deep" / f"{'ab'[number % 2]}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(path)
    written = apply(forecaster, str(tmp_path / "videos"), tmp_path / "out")
    kinds = ("predicted", "remembered")
    names = {f"deep/{name}-{kind}.{end}" for name in "ab" for kind in kinds for end in ("mp4", "webp")}
    assert {path.relative_to(tmp_path / "out").as_posix() for path in written} == names
    with Image.open(tmp_path / "out" / "deep" / "a-predicted.webp") as animation:
        assert (animation.size, animation.info["loop"]) == ((32, 32), 0)
        given = np.asarray(animation.convert("RGB")).astype(int)
        assert animation.info["duration"] == 200
    with av.open(str(tmp_path / "out" / "deep" / "a-predicted.mp4")) as container:
        assert container.streams.video[0].average_rate == 5
        assert sum(1 for _ in container.decode(video=0)) == 4
    true = forecaster.load_data(str(tmp_path / "videos")).whole(0)
    assert len(true) == 4, "15 frames at 24 a second are 4 at 5 a second"
    assert np.abs(given - true[-2]).mean() < 12, "the frames that are known come first"


@pytest.mark.parametrize("labelled", [4, 10])
def test_the_picture_of_few_labels_is_of_labelled_images(tmp_path, photos, labelled):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(20):
        Image.fromarray(photos[i]).save(folder / f"{i:02}.png")
    rows = "".join(f"{i:02}.png,{'ab'[i % 2]}\n" for i in range(labelled))
    (tmp_path / "few.csv").write_text(f"path,label\n{rows}")
    preview("finetune", folder, labels=tmp_path / "few.csv", out=tmp_path / "seen.png", size=32)
    assert (tmp_path / "seen.png").is_file()


def test_the_picture_of_a_run_has_what_it_says(make_run, tmp_path):
    run = str(make_run("turned").folder)
    preview("rotation", "digits", out=tmp_path / "seen.png")
    preview(run, out=tmp_path / "said.png")
    seen, said = (Image.open(tmp_path / f"{name}.png") for name in ("seen", "said"))
    assert said.width > seen.width  # a column more
    preview(run, "digits", out=tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "said.png").read_bytes()
    with pytest.raises(
        UsageError, match=r"is a run and has its own encoder, size, labels and parameters\. Remove these options"
    ):
        preview(run, out=tmp_path / "said.png", size=32)
    with pytest.raises(UsageError, match=r"rotation learns from images \(image\), but 2 sources given"):
        preview(run, "digits", "digits", out=tmp_path / "said.png")
