"""Example methods of users, each in one file outside the package, for everything that streams may hold.

Each passes the contract, is trained from files on disk, evaluated or applied if it supports that, and loaded again.
"""

import csv
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from tests.data.recordings import tone, write_video
from withhold.cli import main
from withhold.contract import Trial, checks
from withhold.errors import UsageError
from withhold.methods import find
from withhold.nets import features
from withhold.report import gallery
from withhold.runs.preview import preview

TOYS = Path(__file__).parent / "toys"
NAMES = ("sound_of_pixels", "dual_translation", "prototypes", "camera_position")
CHECKS = (checks.card, checks.gradients, checks.resume, checks.picture)
"""What depends on the streams of a method; the others are those of every method."""


def path(name):
    return str(TOYS / f"{name}.py")


@pytest.mark.parametrize(
    ("name", "check"),
    [pytest.param(name, check, id=f"{name}-{check.__name__}") for name in NAMES for check in CHECKS],
)
def test_a_toy_keeps_the_contract(name, check):
    check(Trial(find(path(name))))


@pytest.fixture
def live(tmp_path):
    """(name, sources, ...) -> the run of a toy, loaded again; it has the weights that it had, and a picture."""

    def train(name, *sources, **options):
        toy = path(name) if Path(path(name)).exists() else name
        run = withhold.train(toy, *map(str, sources), out=tmp_path / "run", **options)
        assert run.finished
        assert (tmp_path / "run" / "report.html").is_file()
        assert gallery.columns(run.method, run.streams(), 0)
        loaded = withhold.load(tmp_path / "run")
        weights = loaded.method.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in run.method.state_dict().items())
        return loaded

    return train


def noisy(file, grey, size=32, seed=0):
    """An image of one grey value and some noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([grey, seed]).integers(-10, 11, (size, size, 3))
    Image.fromarray(np.clip(grey + noise, 0, 255).astype(np.uint8)).save(file)


def classes(folder, greys, count):
    """A folder of images for each class, which are as bright as it says."""
    for name, grey in greys.items():
        for k in range(count):
            noisy(folder / name / f"{k}.png", grey, seed=k)
    return folder


def table(file, rows):
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_jigen_learns_from_several_domains_and_is_measured_on_another(live, tmp_path, caplog):
    photo = classes(tmp_path / "photo", {"ant": 20, "dog": 100}, 12)
    art = classes(tmp_path / "art", {"bee": 220, "dog": 110}, 18)
    sketch = classes(tmp_path / "sketch", {"ant": 30, "bee": 210, "dog": 105}, 20)
    run = live("jigen", photo, art, epochs=20, batch_size=12)
    assert "there is only one domain" not in caplog.text
    withhold.train("jigen", str(photo), epochs=1, batch_size=12, out=tmp_path / "one")
    assert "images: there is only one domain, but the method needs several: give one source for each" in caplog.text
    assert run.config["classes"] == ["ant", "bee", "dog"]
    rows = run.evaluate(str(sketch))
    (named,) = (row["value"] for row in rows if (row["protocol"], row["encoder"]) == ("classifier", "trained"))
    assert named > 0.9
    with pytest.raises(UsageError, match=r"was given the labels of all test items of .*photo"):
        run.evaluate(str(photo))


def test_advent_learns_masks_of_one_domain_and_gives_those_of_another(live, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("source/images", "source/masks", "target", "truth"):
        (tmp_path / folder).mkdir(parents=True)
    for k in range(24):
        for images, masks, light in (("source/images", "source/masks", 200), ("target", "truth", 160)):
            mask = np.zeros((32, 32), np.uint8)
            top, left = rng.integers(0, 16, 2)
            mask[top : top + 16, left : left + 16] = 1
            pixels = light * mask[..., None] + rng.integers(0, 30, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / images / f"{k}.png")
            Image.fromarray(mask).save(tmp_path / masks / f"{k}.png")
    run = live("advent", tmp_path / "source", tmp_path / "target", epochs=12, batch_size=6)
    assert main(["apply", str(run.folder), str(tmp_path / "target"), "--out", str(tmp_path / "out")]) == 0
    right = [
        np.asarray(Image.open(tmp_path / "out" / f"{k}-mask.png"))
        == np.asarray(Image.open(tmp_path / "truth" / f"{k}.png"))
        for k in range(24)
    ]
    assert np.mean(right) > 0.85


def test_sound_of_pixels_writes_what_sounds_on_either_side(live, tmp_path):
    for k in range(16):
        frames = np.zeros((16, 32, 32, 3), np.uint8)
        frames[:, :, 16 * (k % 2) : 16 * (k % 2) + 16] = 255 - 5 * k
        write_video(tmp_path / "clips" / f"{k}.mkv", frames, 8, tone((300, 900)[k % 2], 2, 4000), 4000)
    run = live("sound_of_pixels", tmp_path / "clips", epochs=4, batch_size=8)
    assert main(["apply", str(run.folder), str(tmp_path / "clips"), "--out", str(tmp_path / "out")]) == 0
    samples = run.load_data(str(tmp_path / "clips"), run.kind)
    for name, sound in zip(samples.names, samples.batch(range(16))[1].numpy(), strict=True):
        heard = []
        for side in ("left", "right"):
            with wave.open(str(tmp_path / "out" / f"{Path(name).stem}-{side}.wav")) as file:
                assert (file.getframerate(), file.getnframes()) == (4000, 2000)
                heard.append(np.frombuffer(file.readframes(2000), "<i2").astype(int))
        assert np.abs(sum(heard) - sound).max() <= 2


def test_dual_translation_learns_from_pairs_of_texts(live, tmp_path):
    words = dict(zip(("eins", "zwei", "drei", "vier"), ("one", "two", "three", "four"), strict=True))
    german = [list(np.random.default_rng(k).choice(list(words), 2)) for k in range(48)]
    rows = [{"text": " ".join(said), "translation": " ".join(words[word] for word in said)} for said in german]
    run = live("dual_translation", table(tmp_path / "pairs.csv", rows), epochs=60, batch_size=8, tokens=8)
    assert main(["apply", str(run.folder), "drei", "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "text-words.csv").open() as file:
        assert next(csv.DictReader(file))["word"] == "three"
    assert len(run.embed(str(tmp_path / "pairs.csv"))) == 48


def test_columns_of_classes_and_numbers_are_learned_and_measured_on_other_items(live, tmp_path, capsys):
    rows = []
    for k in range(60):
        noisy(tmp_path / f"{k}.png", 4 * k)
        rows.append({"image": f"{k}.png", "label": "no" if k < 30 else "yes", "degrees": 100 + k / 2})
    held = rows[::3]
    rows[3] = rows[3] | {"label": "", "degrees": ""}
    rows = [row for place, row in enumerate(rows) if place % 3]
    taught, asked = table(tmp_path / "taught.csv", rows), table(tmp_path / "asked.csv", held)
    run = live("multitask", taught, epochs=30, batch_size=8)
    assert run.config["targets"] == run.method.targets == {"label": ["no", "yes"], "degrees": None}
    said = run.apply(torch.full((3, 32, 32), 200, dtype=torch.uint8))
    assert said["label"].name == "yes"
    assert float(said["degrees"]) == pytest.approx(100 + 200 / 8, abs=4)
    found = {(row["encoder"], row["column"], row["by"]): row for row in run.evaluate(str(taught), str(asked))}
    encoders = {("trained", "answers"), *((name, "features") for name in ("trained", "untrained", "pixels"))}
    assert set(found) == {(encoder, column, by) for encoder, by in encoders for column in ("label", "degrees")}
    assert found["trained", "label", "answers"]["metric"] == "accuracy"
    assert found["trained", "label", "answers"]["value"] > 0.9
    assert found["trained", "degrees", "answers"]["value"] > 0.8
    assert found["pixels", "degrees", "features"]["value"] > 0.8
    with pytest.raises(UsageError, match="given the labels of all test items"):
        run.evaluate(str(taught))
    assert main(["apply", str(run.folder), str(tmp_path / "59.png"), "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "classes.csv").open() as file:
        assert [(row["column"], row["class"]) for row in csv.DictReader(file)] == [("label", "yes")]


def test_columns_of_texts_are_learned_as_well(live, tmp_path):
    rows = [{"text": ("wine and bread ", "ships at sea ")[k % 2] * 3, "topic": "ab"[k % 2]} for k in range(24)]
    run = live("multitask", table(tmp_path / "table.csv", rows), epochs=2, batch_size=8, tokens=16)
    assert run.encoder.kind == "text"
    assert set(run.apply("ships at sea")) == {"topic"}


def test_prototypes_learn_in_episodes_and_are_measured_on_new_classes(live, tmp_path):
    known = classes(tmp_path / "known", {f"c{k}": 40 * k for k in range(6)}, 10)
    new = classes(tmp_path / "new", {f"n{k}": 50 * k + 20 for k in range(5)}, 6)
    run = live("prototypes", known, epochs=10)
    assert run.config["training"]["batch_size"] == 25  # of small data, a whole episode
    rows = run.evaluate(str(known), str(new), protocols=(path("one_shot"),))
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "pixels"}
    assert rows[0]["value"] > 0.8
    preview(path("prototypes"), str(known), out=tmp_path / "seen.png")
    assert (tmp_path / "seen.png").is_file()


def test_a_camera_position_is_learned_from_images_with_poses(live, tmp_path):
    rows = []
    for k in range(40):
        noisy(tmp_path / f"{k}.png", 6 * k)
        pose = np.eye(3, 4)
        pose[0, 3] = k / 20
        rows.append({"image": f"{k}.png", "pose": json.dumps(pose.tolist())})
    run = live("camera_position", table(tmp_path / "views.csv", rows), epochs=40, batch_size=8)
    with torch.no_grad():
        said = run.method.predict(torch.tensor([30.0, 210.0])[:, None, None, None].expand(2, 3, 32, 32) / 255)
    assert said[:, 0].tolist() == pytest.approx([0.25, 1.75], abs=0.4)


def test_a_kind_of_data_in_one_file_is_learned_from_and_measured(live, tmp_path):
    for k in range(48):
        file = tmp_path / "curves" / ("slow", "fast")[k % 2] / f"{k}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.sin((1 + k % 2) * np.arange(96 + k) / 6 + k))
    run = live("curves", tmp_path / "curves", encoder=path("curves"), epochs=4, batch_size=16)
    rows = run.evaluate(str(tmp_path / "curves"), protocols=("knn",))
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "values"}
    assert rows[0]["value"] > 0.8
    samples = run.load_data(str(tmp_path / "curves"))
    assert not samples.skipped
    assert features(run.encoder, samples).shape == (48, 64)


def test_captions_learn_which_text_belongs_to_an_image(live, tmp_path):
    rows = []
    for k in range(48):
        noisy(tmp_path / f"{k}.png", (30, 100, 200)[k % 3], seed=k)
        said = ("night falls", "fog all day", "snow and sun")[k % 3]
        rows.append({"image": f"{k}.png", "text": said, "label": k % 3})
    run = live("captions", table(tmp_path / "table.csv", rows), epochs=8, batch_size=16)
    (pairs,) = run.streams()
    images, captions = run.method.withhold(pairs.batch(range(3)))[0]
    assert run.method.predict((images, captions)).argmax(1).tolist() == [0, 1, 2]
