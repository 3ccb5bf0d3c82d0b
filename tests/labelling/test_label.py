"""`withhold label` suggests items to label, of any kind, in a table to fill in and a page that shows it."""

import csv
import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from tests.data.recordings import tone, write_sound, write_video
from tests.search.test_page import pictures
from tests.test_console import WILD
from withhold import data
from withhold.cli import main
from withhold.contract.tiny import documents
from withhold.errors import UsageError
from withhold.labelling.rank import Ranking


def rows(folder):
    with open(folder / "label.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill_in(path, label):
    """The table with a label for each row, `label(path)`."""
    found = rows(path.parent)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(row | {"label": label(row["path"])} for row in found)


@pytest.fixture
def home(tmp_path, photos, monkeypatch):
    """Twenty-four photos of two things in a folder without classes, and the labels of eight of them."""
    (tmp_path / "photos").mkdir()
    for i in range(24):
        Image.fromarray(photos[i]).save(tmp_path / "photos" / f"{i}.png")
    lines = ["path,label", *(f"{i}.png,{('temple', 'flower')[i % 2]}" for i in range(8)), "9.png,"]
    (tmp_path / "few.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(home):
    return withhold.train("finetune", "photos", labels="few.csv", encoder="convnet", epochs=1, out="run")


def test_what_a_run_was_told_is_left_out_and_the_rest_can_be_labelled_round_by_round(home, run, photos, capsys, caplog):
    caplog.set_level(logging.INFO, "withhold")
    assert main(["label", "photos", "--run", "run", "-n", "4"]) == 0
    said = capsys.readouterr().out
    assert "strategy: typical, since there are 4 labels per class" in caplog.messages
    assert "Chose 4 items to label: runs/label-photos/label.html shows them" in said
    assert "withhold learn photos --labels runs/label-photos/label.csv --out runs/learn-label-photos" in said
    assert "The file lacks the labels that the run was trained on. Pass them as --labels" in said
    folder = home / "runs" / "label-photos"
    first = rows(folder)
    assert list(first[0]) == ["path", "label", "guess", "probability", "score", "why"]
    assert {row["label"] for row in first} == {""} and {row["guess"] for row in first} <= {"temple", "flower"}
    assert not {row["path"] for row in first} & {f"{i}.png" for i in range(8)}
    shown = pictures(folder / "label.html")
    assert all((image == photos[int(row["path"][:-4])]).all() for row, image in zip(first, shown, strict=True))
    page = (folder / "label.html").read_text(encoding="utf-8")
    assert all(row["why"] in page and f"<b>{row['guess']}?</b>" in page for row in first)
    assert "http" not in page.replace("http://www.w3.org", ""), "it needs nothing else"

    assert (data.load("photos", size=32, labels=folder / "label.csv").labels == -1).all(), "as it is it labels nothing"
    assert f"{folder / 'label.csv'} labels 0 of 24 items in photos" in caplog.messages
    fill_in(folder / "label.csv", lambda path: ("temple", "flower")[int(path[:-4]) % 2])
    args = ["label", "photos", "--run", "run", "--labels", str(folder / "label.csv"), "-n", "12", "--json"]
    assert main([*args, "--out", "second"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["csv"] == "second/label.csv" and found["html"] == "second/label.html"
    known = {row["path"]: row["label"] for row in rows(home / "second") if row["label"]}
    assert known == {row["path"]: ("temple", "flower")[int(row["path"][:-4]) % 2] for row in first}
    assert {row["path"] for row in found["results"]} == {f"{i}.png" for i in range(8, 24)} - {
        row["path"] for row in first
    }
    assert main([*args, "-n", "13", "--out", "third"]) == 2
    assert "photos has 12 unlabelled items, fewer than the 13 to choose. Choose 12 at most" in capsys.readouterr().err
    assert not (home / "third").exists()


def test_labels_that_are_in_the_table_are_not_called_missing(home, run, capsys, caplog):
    (home / "few.csv").write_text((home / "few.csv").read_text() + "\n10.png,Temple")
    assert main(["label", "photos", "--run", "run", "--labels", "few.csv", "-n", "4"]) == 0
    assert "lacks the labels" not in capsys.readouterr().out
    assert "Temple and temple are 2 classes: if they mean the same, use one spelling" in caplog.messages


def test_an_item_without_neighbours_is_not_called_typical():
    found = Ranking("typical", torch.arange(2), torch.tensor([1.5, 0.0]), None)
    assert found.why == ["typical of unlabelled items (1.50)", "unlike other unlabelled items"]


def test_nothing_that_was_filled_in_is_replaced(home, run, capsys):
    (home / "runs" / "label-photos").mkdir(parents=True)
    assert main(["label", "photos", "--run", "run"]) == 2
    assert "runs/label-photos already exists. Choose another --out" in capsys.readouterr().err


def test_an_encoder_without_a_classifier_gets_a_probe_of_the_labels_or_does_without(home, caplog):
    caplog.set_level(logging.INFO, "withhold")
    encoder = withhold.load("convnet", size=32)
    cold = withhold.label(encoder, "photos", 5)
    assert "strategy: typical, which needs no classifier" in caplog.messages
    assert cold["guess"].null_count == cold["probability"].null_count == 5
    assert json.loads(cold.schema.metadata[b"withhold"])["strategy"] == "typical"
    few = withhold.label(encoder, "photos", 16, labels="few.csv", strategy="margin")
    assert set(few["path"].to_pylist()) == {f"{i}.png" for i in range(8, 24)}
    probabilities = few["probability"].to_numpy()
    assert (np.diff(probabilities) >= 0).all() and probabilities.min() >= 0.5, "the least sure of two classes first"
    np.testing.assert_allclose(few["score"], 1 - (2 * probabilities - 1), atol=1e-5)
    assert few.equals(withhold.label(encoder, "photos", 16, labels="few.csv", strategy="margin"))
    for strategy in ("badge", "entropy", "least-confident", "core-set", "random"):
        assert withhold.label(encoder, "photos", 3, labels="few.csv", strategy=strategy).num_rows == 3


def test_labels_of_the_data_count_where_some_are_open(home, caplog):
    caplog.set_level(logging.INFO, "withhold")
    encoder = withhold.load("convnet", size=32)
    (home / "list.csv").write_text("path,label\nphotos/0.png,a\nphotos/1.png,b\nphotos/2.png,\nphotos/3.png,\n")
    found = withhold.label(encoder, "list.csv", 2)
    assert sorted(found["path"].to_pylist()) == ["photos/2.png", "photos/3.png"] and found["guess"].null_count == 0
    assert json.loads(found.schema.metadata[b"withhold"])["known"] == [["photos/0.png", "a"], ["photos/1.png", "b"]]
    (home / "sorted" / "a").mkdir(parents=True)
    (home / "photos").rename(home / "sorted" / "b")
    (home / "sorted" / "b" / "0.png").rename(home / "sorted" / "a" / "0.png")
    assert withhold.label(encoder, "sorted", 24).num_rows == 24
    assert "sorted labels every item itself: these labels are ignored, give known ones as --labels" in caplog.messages


def test_what_cannot_be_labelled(home, run, capsys):
    every = "\n".join(["path,label", *(f"{i}.png,{i % 2}" for i in range(24))])
    (home / "all.csv").write_text(every)
    write_sound(home / "a.wav", tone(300, 0.5, 8000), 8000)
    for words, sentence in (
        (["photos", "--run", "run", "--labels", "all.csv"], "All 24 items of photos have a label. Give data with"),
        (["photos", "--run", "run"], "photos has 16 unlabelled items, fewer than the 20 to choose"),
        (["photos", "--run", "run", "-n", "0"], "The number of items to choose must be at least 1, not 0"),
        (["a.wav", "--run", "run", "-n", "1"], "a.wav has no images"),
        (["photos", "--run", "run", "-n", "2", "--strategy", "atlas"], "atlas needs labelled items"),
        (["photos", "--run", "photos", "-n", "2"], "photos is not a run"),
    ):
        assert main(["label", *words, "--out", "out"]) == 2
        assert sentence in capsys.readouterr().err
        assert not (home / "out").exists()


def test_names_of_any_kind_are_read_back(home, capsys):
    for i, name in enumerate((WILD, "a,b.png", 'c"d.png', "<b>.png", "=1+1.png")):
        (home / "photos" / f"{i}.png").rename(home / "photos" / name)
    assert main(["label", "photos", "--run", "convnet", "--size", "32", "-n", "24", "--out", "out"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "&lt;b&gt;.png" in (home / "out" / "label.html").read_text(encoding="utf-8")
    fill_in(home / "out" / "label.csv", lambda path: "x" + path)
    samples = data.load("photos", size=32, labels=home / "out" / "label.csv")
    assert (samples.labels >= 0).all() and len(samples.classes) == 24


def test_texts_are_shown(home):
    (home / "book.txt").write_text("\n\n".join(documents()))
    withhold.train("skipgram", "book.txt", epochs=1, out="words", tokens=16, sample=0.1)
    assert main(["label", "book.txt", "--run", "words", "-n", "3", "--out", "out"]) == 0
    page = (home / "out" / "label.html").read_text(encoding="utf-8")
    for row in rows(home / "out"):
        assert documents()[int(row["path"])].split()[0] in page
    assert page.count('<span class="text">') == 3


def test_sounds_and_videos_are_shown(home, photos):
    for i in range(6):
        write_sound(home / "sounds" / f"{i}.wav", tone(300 * (i + 1), 0.5, 8000), 8000)
        write_video(home / "videos" / f"{i}.mkv", np.stack([np.roll(photos[i], k, 1) for k in range(8)]), 8)
    for name, encoder in (("sounds", "audio-cnn"), ("videos", "convnet")):
        assert main(["label", name, "--run", encoder, "-n", "2", "--out", f"out-{name}"]) == 0
        assert len(pictures(home / f"out-{name}" / "label.html")) == 2
    assert (home / "out-sounds" / "label.html").read_text(encoding="utf-8").count("<audio controls") == 2


def test_an_encoder_or_a_run_may_be_given_by_name(home, run):
    assert withhold.label("run", "photos", 3, seed=1).equals(withhold.label(run, "photos", 3, seed=1))
    with pytest.raises(UsageError, match="There is no strategy 'margins'"):
        withhold.label("run", "photos", 3, strategy="margins")
