"""A run on pairs, from the manifest to embeddings of either part and pictures of the source of a sound."""

import json
import shlex

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import withhold
from tests.conftest import ROOT
from tests.data.recordings import tone, write_sound, write_video
from withhold import kinds
from withhold.answers import apply
from withhold.cli import main
from withhold.data.images import encode
from withhold.errors import UsageError
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
    heard = [f"{i}.wav,{['low', 'high'][i % 2]}" for i in range(8)]
    (folder / "heard.csv").write_text("\n".join(["path,label", *heard]))
    write_sound(folder / "recordings" / "long.wav", np.concatenate([tone(200, 2, RATE), tone(1200, 3, RATE)]), RATE)
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


def test_the_run_says_what_its_encoder_makes_of_pictures_and_sounds(run):
    assert run.config["encoder"]["rate"] == run.config["decoding"]["rate"] == RATE
    assert run.config["decoding"]["seconds"] == 0.25
    assert run.config["prepared"] == {
        "sight": {"mean": [0.5] * 3, "deviation": [0.25] * 3},
        "hearing": {"bands": 40, "window": 0.025, "mean": [-13.0], "deviation": [4.0]},
    }


def test_a_file_at_another_rate_is_heard_at_the_run_s(run, tmp_path):
    for name, rate in (("a", RATE), ("b", 44_100)):
        write_sound(tmp_path / name / "1.wav", tone(700, 0.5, rate), rate)
    same, other = (np.array(run.embed(str(tmp_path / name))["embedding"][0].as_py()) for name in "ab")
    assert same @ other > 0.999 * np.linalg.norm(same) * np.linalg.norm(other)


def test_pictures_sounds_and_pairs_are_embedded_in_one_space(run, folder, caplog):
    caplog.set_level("INFO", "withhold")
    tables = {name: run.embed(str(folder / name)) for name in ("pictures", "sounds", "pairs.csv")}
    assert [table.num_rows for table in tables.values()] == [24, 24, 24]
    assert not any("is read as one video" in line for line in caplog.messages)
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


def test_each_window_is_a_row_with_its_time(run, tmp_path, capsys):
    """Of a sound, of a video with its sound; what is no series says so."""
    rising = np.concatenate([tone(200 * step, 0.2, RATE) for step in range(1, 8)])
    write_sound(tmp_path / "s" / "low" / "long.wav", rising, RATE)
    write_sound(tmp_path / "s" / "high" / "short.wav", tone(1200, 0.2, RATE), RATE)
    sounds = str(tmp_path / "s")
    assert main(["embed", str(run.folder), sounds, "--windows", "--out", str(tmp_path / "e.parquet")]) == 0
    table = pyarrow.parquet.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["path", "start", "end", "label", "embedding"]
    assert table["path"].to_pylist() == ["high/short.wav"] + ["low/long.wav"] * 6
    assert table["start"].to_pylist() == [0, 0, 0.25, 0.5, 0.75, 1, 1.15]
    assert table["end"].to_pylist() == [0.2, 0.25, 0.5, 0.75, 1, 1.25, 1.4]
    assert table["label"].to_pylist() == ["high"] + ["low"] * 6
    vectors = np.array(table["embedding"].to_pylist())
    whole = np.array(run.embed(sounds)["embedding"].to_pylist())
    assert np.abs(whole - [vectors[0], vectors[1:].mean(0)]).max() < 1e-5

    assert main(["search", "build", str(tmp_path / "e.parquet"), "--out", str(tmp_path / "index")]) == 0
    capsys.readouterr()
    assert main(["search", "query", str(tmp_path / "index"), "low/long.wav#1.3"]) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["distance", "path", "time", "label"]
    assert ["low/long.wav", "0:00.0-0:00.2", "low"] in [row[1:] for row in rows]
    assert "0:01.1-0:01.4" not in [row[2] for row in rows if "long" in row[1]], "it is not what it asked with"
    asked = ["search", "query", str(tmp_path / "index"), f"{sounds}/low/long.wav#1.3", "--run", str(run.folder)]
    assert main([*asked, "-k", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert (found["start"], found["end"]) == (1.15, 1.4)
    assert found["distance"] == pytest.approx(0, abs=1e-6)

    write_video(tmp_path / "v" / "a.mkv", np.zeros((8, 32, 32, 3), np.uint8), 8, tone(200, 1, RATE), RATE)
    assert run.embed(str(tmp_path / "v"), windows=True)["start"].to_pylist() == [0, 0.25, 0.5, 0.75]
    (tmp_path / "a.png").write_bytes(encode(np.zeros((32, 32, 3), np.uint8)))
    with pytest.raises(UsageError, match="data of the kind image have no windows"):
        run.embed(str(tmp_path / "a.png"), windows=True)


def test_one_sound_or_video_is_classified_in_windows_as_in_a_table(folder, tmp_path):
    taught = {"labels": str(folder / "heard.csv"), "epochs": 2, "batch_size": 4}
    run = withhold.train("finetune", str(folder / "sounds"), out=tmp_path / "heard", seconds=0.25, **taught)
    for name, seconds in (("short", 0.1), ("long", 0.9)):
        write_sound(tmp_path / "s" / f"{name}.wav", tone(700, seconds, RATE), RATE)
    check_windows(run, tmp_path / "s")
    rng = np.random.default_rng(0)
    for name, count in (("0", 6), ("1", 6), ("2", 3), ("3", 9)):
        write_video(tmp_path / "v" / f"{name}.mp4", rng.integers(0, 256, (count, 32, 32, 3), np.uint8), 8)
    (tmp_path / "seen.csv").write_text("path,label\n0.mp4,low\n1.mp4,high\n")
    taught |= {"labels": str(tmp_path / "seen.csv"), "batch_size": 2}
    run = withhold.train("finetune", str(tmp_path / "v"), encoder="conv3d", out=tmp_path / "seen", frames=4, fps=8.0,
                         **taught)  # fmt: skip
    check_windows(run, tmp_path / "v")


def check_windows(run, source):
    samples, table = run.load_data(str(source)), run.classify(str(source)).to_pylist()
    for place, row in enumerate(table):
        said = run.apply(kinds.of(run.kind).whole(samples, place))["class"]
        assert said.shares[row["class"]] == pytest.approx(row["probability"], abs=1e-4)


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
        withhold.errors.UsageError, match=r"no ONNX export for encoders of video \+ audio\. Use --to safetensors"
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
        words = shlex.split(line.partition(" #")[0].replace("--minutes 10", "--epochs 1 --batch-size 8"))
        assert main(words[1:]) == 0, line
    said = capsys.readouterr().out
    assert "picture to sound" in said
    assert "Wrote 24 embeddings of 128 numbers to sounds.parquet" in said
    assert "Wrote 72 files to drawn" in said
    assert "Wrote 5 embeddings of 1,280 numbers to windows.parquet" in said
    page = (folder / "found.html").read_text()
    assert "Nearest to long.wav 0:02.0-0:03.0" in page
    assert page.count("<audio") == 5
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
    with pytest.raises(withhold.errors.UsageError, match=r"has no video.*csv file with columns image and sound\."):
        withhold.train("audiovisual_embedding", str(folder / "sounds"), out=folder / "none")
