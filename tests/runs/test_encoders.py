"""Encoders without a run folder: by name, without training, and from files that describe them."""

import json
import shutil

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import withhold
from tests.data.recordings import tone, write_sound, write_video
from tests.runs.test_outside import ENCODER, METHOD
from withhold import nets, views
from withhold.cli import main
from withhold.errors import UsageError, WithholdError


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    """Forty photos in two classes."""
    for k, crop in enumerate(photos[:40]):
        place = tmp_path / "photos" / "ab"[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).resize((40 + k, 48)).save(place / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def train(method, **options):
    return withhold.train(method, "photos/", **{"epochs": 0.5, "size": 16, "batch_size": 8, "out": "run"} | options)


def about(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["withhold"])


def rewritten(path, change, out):
    """The file of weights at `path` with its own words changed."""
    words = about(path)
    change(words)
    save_file(load_file(path), out, {"withhold": json.dumps(words)})
    return out


# By name.


def test_pretrained_weights_are_measured_as_they_are_and_nothing_is_written(folder, capsys, caplog):
    before = sorted(folder.rglob("*"))
    with caplog.at_level("INFO"):
        assert main(["evaluate", "efficientnet-lite0", "photos/", "--protocol", "knn", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["encoder"] for row in said["results"]] == ["pretrained", "untrained", "pixels"]
    assert said["run"] == "efficientnet-lite0"
    assert "efficientnet-lite0 for 128 × 128 px, colour; pretrained weights" in caplog.text
    assert sorted(folder.rglob("*")) == before
    held = withhold.load("efficientnet-lite0")
    held.evaluate("photos/", protocols=("knn",))
    own = nets.build("efficientnet-lite0", size=48, channels=3, pretrained=True).state_dict()
    assert all(torch.equal(value, own[name]) for name, value in held.encoder.state_dict().items())


def test_fresh_weights_are_called_a_control(folder, capsys, caplog, monkeypatch):
    monkeypatch.setattr("withhold.training.defaults.images", lambda count, device: 64)
    with caplog.at_level("INFO"):
        assert main(["evaluate", "convnet", "photos/", "--size", "16", "--protocol", "knn", "--supervised"]) == 0
    assert "convnet for 16 × 16 px, colour; randomly initialised: a control, not a trained encoder" in caplog.text
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:4]] == ["encoder", "untrained", "supervised", "pixels"]
    assert said[-1] == "Next: withhold embed convnet DATA --out emb.parquet"


def test_an_index_keeps_what_its_items_were_decoded_to(folder, capsys):
    pytest.importorskip("lancedb")
    assert main(["embed", "efficientnet-lite0", "photos/", "--size", "40", "--out", "e.parquet"]) == 0
    table = pyarrow.parquet.read_table("e.parquet")
    assert withhold.load("efficientnet-lite0", size=40).embed("photos/") == table
    assert main(["search", "build", "e.parquet", "--out", "index"]) == 0
    Image.open("photos/a/4.png").resize((90, 97)).save("asked.png")  # whose own size would be another
    query = ["search", "query", "index", "photos/a/0.png", "--run"]
    capsys.readouterr()
    assert main([*query, "efficientnet-lite0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["results"][0]
    assert (found["path"], found["distance"]) == ("a/0.png", pytest.approx(0, abs=1e-5))
    assert main(["search", "query", "index", "asked.png", "--run", "efficientnet-lite0"]) == 0
    assert main([*query, "convnet"]) == 2
    assert "embeddings of another encoder. Give the run that made them" in capsys.readouterr().err


def test_an_index_keeps_the_stage_and_the_pooling(folder, capsys):
    pytest.importorskip("lancedb")
    assert main(["embed", "convnet", "photos/", "--stage", "2", "--pooling", "GeM", "--out", "e.parquet"]) == 0
    run = withhold.load("convnet")
    table = run.embed("photos/", stage=2, pooling="GeM")
    assert table == pyarrow.parquet.read_table("e.parquet")
    assert table["embedding"].type.list_size == 64
    first = nets.Pooled(run.encoder, 2, "GeM").eval()(views.to_float(run.load_data("photos/").batch([0])))
    np.testing.assert_allclose(table["embedding"][0].as_py(), first[0].detach(), rtol=1e-4)
    assert main(["search", "build", "e.parquet", "--out", "index"]) == 0
    capsys.readouterr()
    query = ["search", "query", "index", "photos/a/0.png", "--run", "convnet", "-k", "3", "--json"]
    for more in ([], ["--expand", "2", "--alpha", "0"], ["--diffuse"]):
        assert main([*query, *more]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
        assert len(found) == 3 and {"path", "distance"} <= set(found[0])
        assert more or found[0]["distance"] == pytest.approx(0, abs=1e-5)
    assert main(["embed", "convnet", "photos/", "--stage", "9", "--out", "f.parquet"]) == 2
    assert "has 4 stages, but no stage 9" in capsys.readouterr().err


def test_each_kind_of_data_has_its_encoders(folder):
    for k in range(4):
        write_video(folder / "videos" / f"{k}.mkv", np.full((8, 32, 32, 3), 40 * k, np.uint8), 8)
        write_sound(folder / "sounds" / f"{k}.wav", tone(300 + 200 * k, 0.5, 4000), 4000)
    for name, source, known in (
        ("conv3d", "videos", {"size": 32, "channels": 1, "fps": 8.0, "frames": 16}),
        ("convnet", "videos", {"size": 32, "channels": 1, "fps": 8.0, "frames": 16}),
        ("audio-cnn", "sounds", {"rate": 4000, "seconds": 1.0}),
        ("audiovisual", "sounds", {"rate": 4000, "seconds": 1.0}),
    ):
        run = withhold.load(name)
        assert run.embed(source).num_rows == 4
        assert run.config["decoding"] == known
    with pytest.raises(UsageError, match=r"word-vectors reads texts and needs the tokenizer of a trained run"):
        withhold.load("word-vectors")


def test_other_libraries_and_files_of_ones_own(folder):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    transformers.ViTModel(config).save_pretrained("theirs")
    run = withhold.load("hf:./theirs", size=32)
    assert [row["encoder"] for row in run.evaluate("photos/", protocols=("knn",))][:2] == ["pretrained", "untrained"]
    (folder / "mine.py").write_text(ENCODER)
    run = withhold.load("./mine.py")
    assert (run.row, run.embed("photos/")["embedding"].type.list_size) == ("untrained", 24)


def test_what_there_is_not_is_said_in_a_sentence(folder):
    for name, options, words in (
        (
            "efficientnt",
            {},
            r"no encoder 'efficientnt': did you mean efficientnet-lite0.* a run's folder",
        ),
        ("photos", {}, "photos is not a run"),
        ("runs/none", {}, "runs/none is not a run"),
        ("convnet", {"siz": 3}, "convnet has no input setting 'siz': did you mean size"),
        ("none.safetensors", {}, "There is no file none.safetensors. Give a file that `withhold export"),
    ):
        with pytest.raises(UsageError, match=words):
            withhold.load(name, **options)
    with pytest.raises(UsageError, match=r"its first data\. .*\.load\('convnet', size=\.\.\., channels=\.\.\.\)"):
        _ = withhold.load("convnet").encoder
    assert withhold.load("convnet", size=24, channels=1).encoder.size == 24
    train("rotation")
    with pytest.raises(UsageError, match=r"run takes data with size 16, not 32\. Remove size"):
        withhold.load("run", size=32)
    (folder / "run" / "encoder.safetensors").unlink()
    with pytest.raises(WithholdError, match=r"run has no encoder.safetensors yet. Finish its training with --resume"):
        withhold.evaluate("run", "photos/", protocols=("knn",))
    assert main(["apply", "convnet", "photos/"]) == 2


# From a file.


@pytest.mark.parametrize("exported", [True, False])
def test_a_file_is_used_like_the_run_that_it_is_from(folder, exported):
    run = train("rotation")
    if exported:
        assert main(["export", "run", "--to", "safetensors", "--out", "encoder.safetensors"]) == 0
    else:
        shutil.copy("run/encoder.safetensors", "encoder.safetensors")
    rows = run.evaluate("photos/", protocols=("knn",))
    table = run.embed("photos/")
    shutil.rmtree("run")
    held = withhold.load("encoder.safetensors")
    assert held.embed("photos/") == table
    assert (held.digest, held.lineage[-1]["data"]) == (about("encoder.safetensors")["digest"], ["photos"])
    measured = held.evaluate("photos/", protocols=("knn",))
    assert measured[0] == rows[0]
    assert [row["encoder"] for row in measured] == ["trained", "untrained", "pixels"]
    again = train("simclr", encoder="encoder.safetensors", out="second", size=None)
    state = load_file("encoder.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in again.start().state_dict().items())
    assert again.config["decoding"]["size"] == 16
    assert [stage["method"] for stage in again.lineage] == ["rotation", "simclr"]
    assert again.config["lineage"][0]["digest"] == held.digest


def test_a_file_carries_its_tokenizer(folder):
    rng = np.random.default_rng(0)
    (folder / "texts").mkdir()
    for k in range(24):
        words = rng.choice(["the", "king", "queen", "sails", "ship", "bread"], 40)
        (folder / "texts" / f"{k}.txt").write_text(" ".join(words))
    run = withhold.train("skipgram", "texts", epochs=1, batch_size=8, out="words", tokens=16)
    table = run.embed("texts")
    shutil.move("words/encoder.safetensors", "encoder.safetensors")
    shutil.rmtree("words")
    assert withhold.load("encoder.safetensors").embed("texts")["embedding"] == table["embedding"]
    again = withhold.train("skipgram", "texts", encoder="encoder.safetensors", epochs=1, batch_size=8, out="more")
    assert again.config["decoding"]["tokens"] == 16
    rewritten("encoder.safetensors", lambda words: words.update(tokenizer=None), "cut.safetensors")
    with pytest.raises(UsageError, match=r"cut.safetensors lacks the tokenizer of its encoder"):
        withhold.load("cut.safetensors")


def test_the_weights_of_a_method_say_what_it_is(folder):
    run = train("rotation")
    words = about(run.folder / "method.safetensors")
    assert words == about(run.folder / "encoder.safetensors")
    assert (words["method"], words["classes"], words["features"]) == ("rotation", None, 256)
    assert words["encoder"] == {"name": "convnet", "pretrained": False, "size": 16, "channels": 3}
    (images,) = words["inputs"]
    assert (images["name"], images["shape"]) == ("images", ["n", 3, 16, 16])
    assert "LANCZOS" in images["preparation"]


def test_what_is_damaged_or_strange_is_said_in_a_sentence(folder):
    train("rotation")
    path = folder / "run" / "encoder.safetensors"
    (folder / "cut.safetensors").write_bytes(path.read_bytes()[:100])
    with pytest.raises(WithholdError, match=r"cut.safetensors is damaged or not a weights file \(.*\)\. Export it"):
        withhold.load("cut.safetensors")
    save_file({"x": torch.zeros(2)}, "other.safetensors")
    changes = {
        "other": None, "list": lambda words: words.update(encoder=[]), "stage": lambda words: words["lineage"].append(3)
    }  # fmt: skip
    for name, change in changes.items():
        if change:
            rewritten(path, change, f"{name}.safetensors")
        with pytest.raises(UsageError, match=f"{name}.safetensors does not say which encoder its weights belong to"):
            withhold.load(f"{name}.safetensors")
    rewritten(path, lambda words: words["encoder"].update(name="resnet18"), "wrong.safetensors")
    with pytest.raises(WithholdError, match=r"wrong.safetensors is damaged or from another version"):
        withhold.embed("wrong.safetensors", "photos/")


def test_a_strangers_file_executes_nothing(folder, monkeypatch):
    (folder / "mine.py").write_text(ENCODER + METHOD.split("@method")[0])
    train("rotation", encoder="./mine.py")
    (folder / "executed").unlink()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "another"))
    with pytest.raises(
        UsageError, match=r"encoder.safetensors was made with the Python file ./mine.py, which would be exec"
    ):
        withhold.load("run/encoder.safetensors")
    assert not (folder / "executed").exists()
    assert withhold.load("run/encoder.safetensors", encoder="./mine.py").embed("photos/").num_rows == 40


# As a start.


def test_a_run_that_began_with_fresh_weights_does_not_go_on_from_others(folder):
    train("rotation")
    train("simclr", out="second")
    for encoder in ("run", "run/encoder.safetensors"):
        with pytest.raises(UsageError, match=f"second was trained with encoder convnet, not {encoder}. Repeat its own"):
            train("simclr", out="second", resume=True, encoder=encoder)


def test_a_start_of_another_kind_or_a_folder_that_is_no_run_is_refused(folder):
    for name in ("photos", "runs/none"):
        with pytest.raises(UsageError, match=f"{name} is not a run"):
            train("simclr", encoder=name)
    write_video(folder / "videos" / "a.mkv", np.zeros((24, 32, 32, 3), np.uint8), 8)
    write_video(folder / "videos" / "b.mkv", np.full((24, 32, 32, 3), 90, np.uint8), 8)
    withhold.train("frame_prediction", "videos", epochs=0.5, batch_size=2, frames=4, out="clips")
    with pytest.raises(UsageError, match="simclr takes an encoder of the class ImageEncoder, not Recurrent"):
        train("simclr", encoder="clips/encoder.safetensors", size=None)
