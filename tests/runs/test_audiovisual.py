"""A run that learned from pairs, from the manifest to embeddings of either half and pictures of where a sound is."""

import numpy as np
import pytest
from PIL import Image

import withhold
from tests.data.recordings import tone, write_sound, write_video
from withhold.cli import main
from withhold.data.images import encode
from withhold.runs import apply

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


def test_pictures_sounds_and_pairs_are_embedded_in_one_space(run, folder):
    tables = {name: run.embed(str(folder / name)) for name in ("pictures", "sounds", "pairs.csv")}
    assert [table.num_rows for table in tables.values()] == [24, 24, 24]
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
    assert run.kind_of(str(tmp_path / "both")) == "video with sound"
    assert run.kind_of(str(tmp_path / "mute")) == "video"
    assert run.embed(str(tmp_path / "mute")).num_rows == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(withhold.errors.WithholdError, match="none is empty"):
        run.embed(str(tmp_path / "none"))


def test_it_is_evaluated_across_and_by_each_half(run, folder):
    rows = run.evaluate(str(folder / "pairs.csv"), protocols=("crossmodal", "knn"), test_fraction=0.5)
    assert {row["encoder"] for row in rows if row["protocol"] == "crossmodal"} == {"trained", "untrained"}
    assert {row["encoder"] for row in rows if row["protocol"] == "knn"} == {"trained", "untrained", "pixels"}


def test_the_command_line_trains_evaluates_and_draws_where_a_sound_is(folder, capsys):
    out = str(folder / "where")
    pairs = str(folder / "pairs.csv")
    words = ["train", "audiovisual_localization", pairs, "--epochs", "1", "--batch-size", "8", "--out", out]
    assert main([*words, "seconds=0.25"]) == 0
    assert main(["evaluate", out, pairs, "--protocol", "crossmodal"]) == 0
    assert "picture to sound" in capsys.readouterr().out
    assert main(["views", "audiovisual_localization", pairs, "--out", str(folder / "views.png"), "seconds=0.25"]) == 0
    written = apply(withhold.load(out), pairs, folder / "drawn")
    assert len(written) == 24 * 3
    drawn = Image.open(folder / "drawn" / "pictures" / "3-place.png")
    assert (drawn.size, drawn.mode) == ((32, 32), "RGB")
