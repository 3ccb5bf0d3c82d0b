"""A run that learned from pairs, from the manifest to embeddings of either half and pictures of where a sound is."""

import shlex

import numpy as np
import pytest
from PIL import Image

import withhold
from tests.conftest import ROOT
from tests.data.recordings import tone, write_sound, write_video
from withhold.answers import apply
from withhold.cli import main
from withhold.data.images import encode
from withhold.runs import export

RATE = 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 pictures and tones in two folders, dark and low or bright and high, and the manifest that pairs them."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    lines = ["image,sound,label"]
    for i in range(24):
        bright = i % 2
        picture = rng.integers(0, 60, (32, 32, 3)) + 180 * bright
        (folder / "pictures").mkdir(exist_ok=True)
        (folder / "pictures" / f"{i}.png").write_bytes(encode(picture.astype(np.uint8)))
        write_sound(folder / "sounds" / f"{i}.wav", tone(200 + 1000 * bright, 0.5, RATE), RATE)
        lines.append(f"pictures/{i}.png,sounds/{i}.wav,{['low', 'high'][bright]}")
    lines.append("pictures/none.png,sounds/0.wav,low")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return withhold.train(
        "audiovisual_embedding", str(folder / "pairs.csv"), epochs=2, batch_size=8, out=folder / "run", seconds=0.25
    )


def test_what_has_no_partner_is_listed_in_the_run(run):
    assert (run.folder / "skipped.csv").read_text().split() == [
        "stream,item,reason", "clips,pictures/none.png,missing", "file",
    ]  # fmt: skip
    assert (run.folder / "report.html").is_file()


def test_pictures_sounds_and_pairs_are_embedded_in_one_space(run, folder, caplog):
    caplog.set_level("INFO", "withhold")
    tables = {name: run.embed(str(folder / name)) for name in ("pictures", "sounds", "pairs.csv")}
    assert [table.num_rows for table in tables.values()] == [24, 24, 24]
    assert not any("frames of one video" in line for line in caplog.messages)
    vectors = {name: np.array(table["embedding"].to_pylist()) for name, table in tables.items()}
    for found in vectors.values():
        assert found.shape == (24, 128)
    order = [tables["pictures"]["path"].to_pylist().index(f"{i}.png") for i in range(24)]
    heard = [tables["sounds"]["path"].to_pylist().index(f"{i}.wav") for i in range(24)]
    mean = vectors["pictures"][order] + vectors["sounds"][heard]
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    assert np.abs(vectors["pairs.csv"] - mean).max() < 0.02  # a sound of two windows is their mean


def test_videos_are_taken_with_their_sounds_or_without(run, tmp_path):
    write_video(tmp_path / "both" / "a.mkv", np.zeros((8, 32, 32, 3), np.uint8), 8, tone(200, 1, RATE), RATE)
    write_video(tmp_path / "mute" / "a.mkv", np.zeros((8, 32, 32, 3), np.uint8), 8)
    assert run.kind_of(str(tmp_path / "both")) == "video + audio"
    assert run.kind_of(str(tmp_path / "mute")) == "video"
    assert run.embed(str(tmp_path / "mute")).num_rows == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(withhold.errors.WithholdError, match="none is empty"):
        run.embed(str(tmp_path / "none"))


def test_a_picture_that_goes_with_two_sounds_is_drawn_twice(folder, tmp_path):
    (folder / "twice.csv").write_text("image,sound\npictures/0.png,sounds/0.wav\npictures/0.png,sounds/1.wav\n")
    run = withhold.train(
        "audiovisual_localization", str(folder / "pairs.csv"), epochs=0.1, batch_size=8, out=tmp_path / "run",
        seconds=0.25,
    )  # fmt: skip
    names = {path.name for path in apply(run, str(folder / "twice.csv"), tmp_path / "drawn")}
    assert names == {f"0{mark}-{kind}.png" for mark in ("", ".png") for kind in ("seen", "heard", "place")}


def test_it_leaves_as_safetensors_only(run, tmp_path):
    with pytest.raises(
        withhold.errors.UsageError, match=r"not written of encoders of video \+ audio: --to safetensors"
    ):
        export(run, "onnx", tmp_path / "encoder.onnx")
    assert export(run, "safetensors", tmp_path / "encoder.safetensors") == 0.0


def test_it_is_evaluated_across_and_by_each_half(run, folder):
    rows = run.evaluate(str(folder / "pairs.csv"), protocols=("crossmodal", "knn"), test_fraction=0.5)
    assert {row["encoder"] for row in rows if row["protocol"] == "crossmodal"} == {"trained", "untrained"}
    assert {row["encoder"] for row in rows if row["protocol"] == "knn"} == {"trained", "untrained", "pixels"}


def test_the_commands_of_the_docs_run(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    page = (ROOT / "docs" / "audiovisual.md").read_text(encoding="utf-8")
    for line in [line for line in page.splitlines() if line.startswith("withhold ")]:
        words = shlex.split(line.replace("--minutes 10", "--epochs 1 --batch-size 8"))
        assert main(words[1:]) == 0, line
    said = capsys.readouterr().out
    assert "picture to sound" in said
    assert "Wrote 24 embeddings of 128 numbers to sounds.parquet" in said
    assert "Wrote 72 files to drawn" in said
    drawn = Image.open(folder / "drawn" / "pictures" / "3-place.png")
    assert (drawn.size, drawn.mode) == ((32, 32), "RGB")


def test_pairs_without_labels_ask_for_each_other(run, folder, capsys):
    rows = [line.rpartition(",")[0] for line in (folder / "pairs.csv").read_text().splitlines()]
    (folder / "bare.csv").write_text("\n".join(rows))
    assert main(["evaluate", str(run.folder), str(folder / "bare.csv"), "--protocol", "crossmodal"]) == 0
    said = capsys.readouterr().out
    assert "chance" in said
    assert "picture to sound" in said
    assert "picture to picture" not in said
    rows = [row for row in run.results() if row["data"].endswith("bare.csv")]
    assert {row["n_test"] for row in rows} == {5}
    assert all(0 < row["chance_at_1"] <= 0.2 + 1e-9 for row in rows)


def test_sounds_alone_are_no_pairs(folder):
    with pytest.raises(withhold.errors.UsageError, match=r"holds no video.*csv file with columns image and sound\."):
        withhold.train("audiovisual_embedding", str(folder / "sounds"), out=folder / "none")
