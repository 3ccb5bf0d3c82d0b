"""The commands as users type them, and the error messages for invalid input."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import withhold
from tests.conftest import ROOT
from withhold.cli import VERBS, main
from withhold.errors import UsageError
from withhold.files import filling
from withhold.methods import find

FAST = ["--epochs", "1", "--size", "32", "--encoder", "convnet"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, photos):
    """Forty loose images in two class folders: sizes, formats and modes mixed, one of them broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, crop in enumerate(photos[:40]):
        place = folder / ("temple" if i % 2 == 0 else "flower")
        place.mkdir(exist_ok=True)
        image = Image.fromarray(crop).resize((32 + i, 40))
        if i % 5 == 0:
            image = image.convert("L")
        image.save(place / f"{i}.{('jpg', 'png', 'webp')[i % 3]}")
    (folder / "flower" / "broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    return folder


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    """A small finished run, as the command line leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "rotation"
    assert main(["train", "rotation", str(pictures), *FAST, "--out", str(folder)]) == 0
    return folder


def last_json(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def fails(capsys, arguments, status, *words):
    """The command ends with `status`, and its sentence has `words`."""
    assert main(arguments) == status
    said = capsys.readouterr().err.strip().splitlines()[-1]
    for word in words:
        assert word in said, said


def test_help_is_instant():
    started = time.perf_counter()
    said = subprocess.run([sys.executable, "-m", "withhold", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert time.perf_counter() - started < 1.0  # 0.05 s on an idle machine
    assert "withhold train" in said.stdout
    heavy = (
        "import sys, withhold, withhold.cli; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'rich', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], cwd=ROOT).returncode == 0


def test_the_overview_lists_every_command_once(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert sorted(line.split()[1] for line in lines if line.startswith("  withhold ")) == sorted(VERBS)


def test_a_run_folder_has_all_its_files(run, capsys):
    names = {path.name for path in run.iterdir()}
    weights_and_words = {"encoder.safetensors", "method.safetensors", "config.json", "report.html"}
    assert names == weights_and_words | {"metrics.csv", "skipped.csv", "checkpoints"}
    assert "broken.jpg" in (run / "skipped.csv").read_text()


def test_train_says_what_it_chose_and_what_is_next(pictures, tmp_path, capsys):
    assert main(["train", "rotation", str(pictures), *FAST, "--out", str(tmp_path / "r"), "--json"]) == 0
    said = last_json(capsys)
    assert said["run"] == str(tmp_path / "r")
    assert said["steps"] >= 1
    assert said["items_per_second"] > 0
    assert 0 <= said["metrics"]["accuracy"] <= 1


def test_evaluate_puts_controls_beside(run, pictures, capsys, monkeypatch):
    monkeypatch.setattr("withhold.training.defaults.images", lambda count, device: 320)
    arguments = [
        "evaluate",
        str(run),
        str(pictures),
        "--protocol",
        "knn,linear,lowshot,finetune",
        "--supervised",
        "--json",
    ]
    assert main(arguments) == 0
    said = last_json(capsys)
    assert {row["encoder"] for row in said["results"]} == {"trained", "untrained", "supervised", "pixels"}
    for row in said["results"]:
        assert {"protocol", "metric", "value", "n_train", "n_test"} <= set(row)
        assert 0 <= row["value"] <= 1
    assert main(["evaluate", str(run), str(pictures), "--protocol", "knn"]) == 0
    assert "untrained" in capsys.readouterr().out


def test_embed_writes_path_label_embedding(run, pictures, tmp_path, capsys):
    out = tmp_path / "emb.parquet"
    assert main(["embed", str(run), str(pictures), "--out", str(out)]) == 0
    table = pyarrow.parquet.read_table(out)
    assert table.column_names == ["path", "label", "embedding"]
    assert table.num_rows == 40
    assert set(table["label"].to_pylist()) == {"flower", "temple"}
    vectors = np.stack(table["embedding"].to_pylist())
    assert vectors.shape == (40, 256)
    assert vectors.std(0).max() > 0


def test_search_finds_what_is_nearest(tmp_path, capsys, monkeypatch):
    """On the digits: by a row, and by the file of one, which is found again at no distance."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "rotation", "digits", "--epochs", "0.1", "--size", "16", "--out", "run"]) == 0
    assert main(["embed", "run", "digits", "--out", "emb.parquet"]) == 0
    assert "withhold search build emb.parquet --out emb.index" in capsys.readouterr().out
    assert main(["search", "build", "emb.parquet", "--out", "emb.index", "--json"]) == 0
    assert last_json(capsys) == {"out": "emb.index", "rows": 1797, "dim": 256, "approximate": False}
    table = pyarrow.parquet.read_table("emb.parquet")
    vectors = np.stack(table["embedding"].to_numpy()).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - vectors @ vectors[17]
    order = np.argsort(distances)

    assert main(["search", "query", "emb.index", "17", "-k", "5", "--html", "page.html", "--json"]) == 0
    said = last_json(capsys)
    assert [row["path"] for row in said["results"]] == [str(row) for row in order[1:6]]
    assert [row["distance"] for row in said["results"]] == pytest.approx(distances[order[1:6]], abs=1e-6)
    assert [row["label"] for row in said["results"]] == [table["label"][int(row)].as_py() for row in order[1:6]]
    assert (tmp_path / "page.html").read_text().count("data:image/png;base64") == 6

    from sklearn.datasets import load_digits

    Image.fromarray(np.rint(load_digits().images[17] * 255 / 16).astype(np.uint8)).save("seventeen.png")
    query = ["search", "query", "emb.index", "seventeen.png", "--run", "run", "--html", "page.html"]
    assert main([*query, "--exact", "--json"]) == 0
    found = last_json(capsys)["results"]
    assert [row["path"] for row in found] == [str(row) for row in order[:10]]
    assert found[0]["distance"] == pytest.approx(0, abs=1e-5)
    assert (tmp_path / "page.html").read_text().count("data:image/png;base64") == 11
    assert main(query) == 0
    assert "The page is page.html" in capsys.readouterr().out

    fails(capsys, ["search", "query", "emb.index", "seventeen.png"], 2, "has no row 'seventeen.png'", "--run")
    fails(capsys, ["search", "query", "emb.index", "digits", "--run", "run"], 2, "has 1,797 items", "a single item")
    fails(capsys, ["search", "query", "run", "17"], 2, "run is not an index", "search build")
    fails(capsys, ["search", "build", "emb.parquet", "--out", "emb.index"], 2, "exists")
    assert main(["train", "rotation", "digits", "--epochs", "0.1", "--size", "16", "--out", "two", "--seed", "1"]) == 0
    fails(capsys, [*query[:4], "--run", "two"], 2, "embeddings of another encoder. Give the run that made them")
    for wrong in (["search"], ["search", "find"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        assert "build,query" in capsys.readouterr().err.replace(", ", ",").replace("'", "")


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_export(run, tmp_path, capsys, to):
    out = tmp_path / f"encoder.{to}"
    assert main(["export", str(run), "--to", to, "--out", str(out), "--json"]) == 0
    assert last_json(capsys)["largest_difference"] < 1e-3
    assert out.stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_export_says_what_the_encoder_takes(run, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    assert main(["export", str(run), "--out", str(tmp_path / "encoder.onnx")]) == 0
    shape = onnx.load(tmp_path / "encoder.onnx").graph.input[0].type.tensor_type.shape.dim
    lengths = ", ".join(str(length.dim_value) for length in shape[1:])
    assert f"Input: images [n, {lengths}], numbers from 0 to 1. Output: features [n, " in capsys.readouterr().out


def test_compare_report_doctor_views_methods_cache(run, pictures, tmp_path, capsys):
    assert main(["compare", str(run), str(run)]) == 0
    assert "rotation" in capsys.readouterr().out
    assert main(["compare", str(run), "--json"]) == 0
    assert last_json(capsys)["runs"][0]["method"] == "rotation"
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size > 10_000
    assert main(["doctor", str(run), "--json"]) == 0
    assert isinstance(last_json(capsys)["findings"], list)
    assert main(["views", "jigsaw", str(pictures), "--out", str(tmp_path / "views.png")]) == 0
    assert Image.open(tmp_path / "views.png").width > 100
    (tmp_path / "few.csv").write_text("path,label\ntemple/0.jpg,a\nflower/1.png,b\n")
    few = ["--labels", str(tmp_path / "few.csv"), "--out", str(tmp_path / "few.png")]
    assert main(["views", "vat", str(pictures), *few]) == 0
    assert main(["views", "jigsaw", str(pictures), "size=64", "--out", str(tmp_path / "views.png")]) == 2
    assert "size is an option, not a parameter. Write --size VALUE." in capsys.readouterr().err
    assert main(["methods"]) == 0
    assert "rotation" in capsys.readouterr().out
    assert main(["methods", "--json"]) == 0
    cards = last_json(capsys)
    assert {"name", "paper", "family", "needs", "parameters"} <= set(cards[0])
    assert cards == withhold.methods()
    assert main(["methods", "moco"]) == 0
    assert "temperature=0.2" in capsys.readouterr().out
    assert main(["cache"]) == 0
    assert main(["cache", "--json"]) == 0
    assert last_json(capsys)["entries"]


def test_colorization_colours_a_photo(pictures, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "colorization", str(pictures), *FAST, "--out", str(folder)]) == 0
    assert main(["apply", str(folder), str(pictures / "temple" / "0.jpg"), "--out", str(tmp_path / "coloured")]) == 0
    assert {path.name for path in (tmp_path / "coloured").iterdir()} == {"0-seen.png", "0-colorized.png"}
    twins = tmp_path / "twins"
    for place in ("a.jpg", "a.png", "deep/a.png"):
        (twins / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(twins / place)
    assert main(["apply", str(folder), str(twins), "--out", str(tmp_path / "all"), "--json"]) == 0
    assert len(list((tmp_path / "all").rglob("*.png"))) == 6, "no result is written over another"
    coloured = tmp_path / "coloured" / "0-colorized.png"
    with Image.open(coloured) as image, Image.open(pictures / "temple" / "0.jpg") as grey:
        assert image.mode == "RGB"
        assert image.size == grey.size


TOY = '''
import torch
from torch import nn

from withhold import views
from withhold.methods import Encoder, Method, method


@method(paper="Nobody, 2026", needs={"images": "image"}, family="reconstruct")
class Toy(Method):
    """Withholds the mean brightness; predicts it from the image less that.

    Args:
        scale: of the prediction.
    """

    def __init__(self, encoder: Encoder, scale: float = 1.0):
        super().__init__(encoder)
        self.scale, self.head = scale, nn.Linear(encoder.dim, 1)

    def withhold(self, images):
        seen = views.to_float(images)
        brightness = seen.mean((1, 2, 3), keepdim=True)
        return (seen - brightness + 0.5).clamp(0, 1), brightness.flatten(1)

    def predict(self, seen):
        return self.scale * self.head(self.encoder(seen))

    def loss(self, predicted, brightness):
        return {"loss": (predicted - brightness).square().mean(), "trivial": brightness.var()}
'''


def test_a_method_in_any_file_trains_evaluates_and_is_tabled(tmp_path, capsys, monkeypatch):
    """Nothing but the file itself knows of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(TOY)
    assert main(["train", "./toy.py", "digits", "--epochs", "1", "--out", "runs/toy", "scale=2.0"]) == 0
    assert main(["evaluate", "runs/toy", "digits", "--protocol", "knn", "--json"]) == 0
    assert last_json(capsys)["results"][0]["value"] > 0.3
    assert main(["compare", "runs/toy"]) == 0
    assert "toy" in capsys.readouterr().out
    assert main(["methods", "./toy.py"]) == 0
    assert "scale=1.0" in capsys.readouterr().out
    assert "Toy" not in capsys.readouterr().err
    assert withhold.load("runs/toy").config["parameters"] == {"scale": 2.0}


def test_python_does_what_the_command_line_does(pictures, tmp_path):
    run = withhold.train("rotation", str(pictures), epochs=1, size=32, encoder="convnet", out=tmp_path / "r", seed=3)
    assert run.encoder.dim == 256
    assert run.embed(str(pictures)).num_rows == 40
    rows = run.evaluate(str(pictures), protocols=("knn",))
    assert rows == withhold.load(tmp_path / "r").results()
    more = run.evaluate("digits", protocols=("knn",))
    assert run.results() == rows + more  # what was measured on other data stays
    assert {row["data"] for row in more} == {"digits"}
    assert run.evaluate(str(pictures), protocols=("knn",)) == rows
    assert run.results() == more + rows
    assert (run.folder / "encoder.safetensors").stat().st_mode == (run.folder / "config.json").stat().st_mode
    again = withhold.train("rotation", str(pictures), epochs=1, size=32, encoder="convnet", out=tmp_path / "s", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(run.encoder.parameters(), again.encoder.parameters(), strict=True))


# What cannot be done, and the sentence for it.


def test_wrong_words(pictures, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(capsys, ["trian"], 2, "no command 'trian'", "train")
    data = str(pictures)
    fails(capsys, ["train", "rotatoin", data], 2, "no method 'rotatoin'", "did you mean rotation")
    fails(capsys, ["train", "./no.py", data], 2, "no method file './no.py'")
    fails(
        capsys,
        ["train", "rotation"],
        2,
        "rotation learns from images (image), but 0 sources given. Give one source for each",
    )
    fails(capsys, ["train", "moco", data, "quue=3"], 2, "moco has no parameter 'quue'", "did you mean queue")
    fails(capsys, ["train", "moco", data, "queue=many"], 2, "moco: queue must be a whole number, not many")
    fails(capsys, ["train", "moco", data, "temperature=0"], 2, "temperature must be above 0")
    fails(capsys, ["train", "moco", data, "lr=0.1"], 2, "lr is an option, not a parameter. Write --lr")
    fails(capsys, ["train", "rotation", data, "--precision", "bf61"], 2, "no precision 'bf61'", "choose from 16-mixed")
    fails(capsys, ["train", "rotation", data, "--out", "/proc/foo"], 2, "/proc/foo cannot be made")
    fails(capsys, ["train", "rotation", data, "--encoder", "resnet81"], 2, "no encoder 'resnet81'", "resnet18")
    fails(capsys, ["train", "rotation", data, "--epochs", "1", "--minutes", "1"], 2, "Give only one of them")
    fails(capsys, ["train", "rotation", data, "--epochs", "-1"], 2, "epochs must be a number of at least 0, not -1.")
    fails(capsys, ["train", "rotation", data, "--seed", "-1"], 2, "seed must be a number of at least 0")
    fails(capsys, ["train", "rotation", data, "--devices", "0"], 2, "devices must be a number of at least 1")
    (tmp_path / "file").write_text("")
    fails(capsys, ["train", "rotation", data, "--out", str(tmp_path / "file")], 2, "is a file, but must be a folder")
    fails(capsys, ["train", "rotation", data, "--batch-size", "500"], 2, "500", "40")
    fails(
        capsys, ["train", "mae", data, "--encoder", "convnet"], 2, "mae takes an encoder of the class ViT, not ConvNet"
    )
    fails(capsys, ["train", "jigsaw", data, "--size", "8"], 2, "8")
    fails(capsys, ["evaluate", str(tmp_path), data], 2, "is not a run")
    assert not (tmp_path / "runs").exists()


def test_wrong_data(run, capsys, tmp_path, pictures, photos):
    fails(capsys, ["train", "rotation", str(tmp_path / "nowhere")], 2, "nowhere")
    (tmp_path / "empty").mkdir()
    fails(capsys, ["train", "rotation", str(tmp_path / "empty")], 2, "empty")
    loose = tmp_path / "loose"
    loose.mkdir()
    for i in range(4):
        Image.fromarray(photos[i]).save(loose / f"{i}.png")
    fails(capsys, ["evaluate", str(run), str(loose)], 2, "no labels", "--labels")
    fails(capsys, ["evaluate", str(run), str(pictures), "--protocol", "knm"], 2, "'knm'", "knn")
    fails(capsys, ["train", "rotation", str(pictures), "--strict", "--out", str(tmp_path / "x")], 1, "broken.jpg")
    cut = ["train", "simclr", str(pictures), "--batch-size", "4", "--accumulate", "4", "--out", str(tmp_path / "x")]
    fails(capsys, cut, 2, "simclr compares the items of a batch", "--accumulate")
    (tmp_path / "one.csv").write_text("path,label\n" + "".join(f"loose/{i}.png,only\n" for i in range(4)))
    fails(capsys, ["evaluate", str(run), str(tmp_path / "one.csv")], 2, "of class 'only'", "at least two classes")
    fails(capsys, ["apply", str(run), str(pictures), "--out", str(tmp_path / "a")], 2, "gives embeddings only")


def test_a_hub_that_cannot_be_reached_is_not_waited_for(monkeypatch, capsys):
    def unknown(*address):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("HF_HUB_OFFLINE", "")  # which is put back
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address: [address])
    fails(capsys, ["methods", "hf:nobody/nothing"], 2, "hf:nobody/nothing")
    assert os.environ["HF_HUB_OFFLINE"] == ""
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fails(capsys, ["methods", "hf:nobody/nothing"], 2, "hf:nobody/nothing")
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_run_that_exists_is_not_overwritten(run, pictures, capsys):
    arguments = ["train", "rotation", str(pictures), *FAST, "--out", str(run)]
    before = (run / "encoder.safetensors").read_bytes()
    fails(capsys, arguments, 2, "exists", "--resume")
    fails(capsys, [*arguments, "--resume", "--seed", "7"], 2, "was trained with", "seed 0, not with seed 7")
    assert (run / "encoder.safetensors").read_bytes() == before
    assert main([*arguments, "--resume"]) == 0  # there is nothing left to do


def test_data_that_do_not_suit_the_method_leave_no_run_behind(pictures, tmp_path, capsys, monkeypatch):
    error = MemoryError()

    def prepare(self, images):
        raise error

    monkeypatch.setattr(find("rotation"), "prepare", prepare)
    with pytest.raises(MemoryError):
        withhold.train("rotation", str(pictures), epochs=1, size=32, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    error = UsageError("These images are of no use.")
    arguments = ["train", "rotation", str(pictures), *FAST, "--out", str(tmp_path / "refused")]
    fails(capsys, arguments, 2, "of no use")
    assert not (tmp_path / "refused").exists()
    (tmp_path / "refused").mkdir()
    fails(capsys, arguments, 2, "of no use")
    (tmp_path / "refused" / "own.txt").write_text("mine")
    fails(capsys, arguments, 2, "refused is not empty (it holds own.txt)")
    assert [path.name for path in (tmp_path / "refused").iterdir()] == ["own.txt"]


def test_two_trainings_in_one_folder_exclude_each_other(run, pictures, tmp_path, capsys):
    for folder, resume in ((run, ["--resume"]), (tmp_path / "new", [])):
        with filling(folder, (run / "config.json").exists):
            arguments = ["train", "rotation", str(pictures), *FAST, "--out", str(folder), *resume]
            fails(capsys, arguments, 1, f"Another process is writing {folder}. Wait until it is finished")


def test_what_is_measured_and_written_replaces_nothing_else(run, pictures, tmp_path, capsys):
    """The outputs of every verb: they replace what it wrote itself, and nothing that it did not."""
    embedded, index = tmp_path / "e.parquet", tmp_path / "e.index"
    assert main(["embed", str(run), str(pictures), "--out", str(embedded)]) == 0
    assert main(["search", "build", str(embedded), "--out", str(index)]) == 0
    for ending, words in {
        "parquet": ["embed", str(run), str(pictures), "--out"],
        "png": ["views", "rotation", str(pictures), "--out"],
        "webp": ["views", str(run), "--out"],
        "onnx": ["export", str(run), "--out"],
        "safetensors": ["export", str(run), "--to", "safetensors", "--out"],
        "html": ["search", "query", str(index), "temple/0.jpg", "--html"],
    }.items():
        out, own = tmp_path / f"out.{ending}", tmp_path / f"own.{ending}"
        for _ in range(2):
            assert main([*words, str(out)]) == 0
        own.write_text("mine")
        fails(capsys, [*words, str(own)], 2, f"{own} already exists and was not made by withhold")
        fails(capsys, [*words, str(tmp_path / "out.xyz")], 2, "out.xyz must end in .")
        assert own.read_text() == "mine"
    fails(capsys, ["embed", str(run), str(embedded), "--out", str(embedded)], 2, "is both an input and the output")
    weights = run / "encoder.safetensors"
    fails(capsys, ["export", str(run), "--to", "safetensors", "--out", str(weights)], 2, "was not made by withhold")
    made = {f"out.{ending}" for ending in ("parquet", "png", "webp", "onnx", "safetensors", "html")}
    assert {path.name for path in tmp_path.iterdir() if path.name[:3] == "out"} == made
    (tmp_path / "runs" / "simclr").mkdir(parents=True)
    fails(capsys, ["demo", "--out", str(tmp_path / "runs")], 2, "runs is not the folder of a complete demo")


def test_what_goes_on_is_said_once(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def interrupted(*sources, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(withhold, "train", interrupted)
    main(["train", "rotation", "digits", "--seed", "3"])
    assert "Stopped. Start again with: withhold train rotation digits --seed 3\n" in capsys.readouterr().err
    (tmp_path / "runs" / "rotation-digits").mkdir(parents=True)
    (tmp_path / "runs" / "rotation-digits" / "config.json").touch()
    main(["train", "rotation", "digits", "--resume", "--seed", "3"])
    assert "Stopped. Resume with: withhold train rotation digits --seed 3 --resume\n" in capsys.readouterr().err


def test_names_in_messages_are_escaped(photos, tmp_path, capsys, monkeypatch):
    """Those of a log and of an error; a table of embeddings holds them, even one that is no UTF-8."""
    names = ["[red]\x1b[31m.png", "caf\udce9.png"]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, crop in zip(names, photos, strict=False):
        Image.fromarray(crop).save(folder / name)
    (folder / "no\n\u202eimage.png").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])  # pytest's own
        arguments = [str(folder), "--out", str(tmp_path / "run")]
        assert main(["train", "rotation", *arguments, *FAST, "--batch-size", "2"]) == 0
        assert main(["embed", str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "e.parquet")]) == 0
        assert "such as no\\n\\u202eimage.png (" in capsys.readouterr().err
    assert pyarrow.parquet.read_table(tmp_path / "e.parquet")["path"].to_pylist() == [names[0], "caf\\udce9.png"]
    fails(capsys, ["train", "rotation", str(folder), "--strict"], 1, "no\\n\\u202eimage.png in ")


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        ("encoder.safetensors", b"{", "embed RUN DATA --out e.parquet"),
        ("config.json", b"{", "embed RUN DATA --out e.parquet"),
        ("config.json", b"null", "embed RUN DATA --out e.parquet"),
        ("evaluation.json", b'{"results": [', "compare RUN"),
        ("evaluation.json", b"[]", "report RUN"),
        ("learn.json", b"[]", "report RUN"),
        ("metrics.csv", b"step,loss\n1,low\n", "doctor RUN"),
        ("metrics.csv", b"loss\n1.0\n", "report RUN"),
        ("told.csv", b"nothing\n", "evaluate RUN DATA"),
    ],
)
def test_damaged_files_of_a_run_are_named(run, pictures, tmp_path, capsys, monkeypatch, name, content, command):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / name).write_bytes(content)
    words = {"RUN": str(copy), "DATA": str(pictures)}
    fails(capsys, [words.get(word, word) for word in command.split()], 1, f"{name} is damaged")
    assert not (tmp_path / "e.parquet").exists()


def test_no_data_at_all_are_refused_and_not_taken_for_this_folder(run, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(pictures)
    for command in (["embed", str(run), "", "--out", str(tmp_path / "e.parquet")], ["train", "rotation", " "],
                    ["evaluate", str(run), str(pictures), ""]):  # fmt: skip
        fails(capsys, command, 2, "The data are an empty text. Give a folder, a file or a name.")
    assert not (pictures / "runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--epochs nan", "The epochs must be a number of at least 0, not nan."),
        ("--epochs inf", "The epochs must be a number of at least 0, not inf."),
        ("--minutes nan", "The minutes must be a number above 0, not nan."),
        ("--lr inf", "The lr must be a number above 0, not inf."),
        ("--weight-decay nan", "The weight decay must be a number of at least 0, not nan."),
        ("--clip nan", "The clip must be a number of at least 0, not nan."),
        ("--layer-decay nan", "The layer decay must be a number above 0, not nan."),
        ("--seed 99999999999999999999", "The seed must be below 2^63"),
    ],
)
def test_numbers_that_are_none_are_refused_and_leave_nothing(pictures, tmp_path, capsys, words, sentence):
    fails(capsys, ["train", "rotation", str(pictures), "--out", str(tmp_path / "run"), *words.split()], 2, sentence)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["evaluate RUN DATA --budget -5", "compare RUN --on DATA --budget 0"])
def test_a_budget_below_one_is_refused(run, pictures, capsys, command):
    words = {"RUN": str(run), "DATA": str(pictures)}
    fails(capsys, [words.get(word, word) for word in command.split()], 2, "The budget must be at least 1, not")


def test_a_run_that_is_interrupted_at_its_very_end_is_resumed(run, pictures, tmp_path, monkeypatch):
    """After its last step, while it is measured."""
    from withhold.runs import trainer

    arguments = ["train", "rotation", str(pictures), "--out", str(tmp_path / "run"), *FAST]
    with monkeypatch.context() as patch:

        def interrupt(*_):
            raise KeyboardInterrupt

        patch.setattr(trainer.monitoring, "one_class", interrupt)
        assert main(arguments) == 130
    assert not withhold.load(tmp_path / "run").finished
    assert main([*arguments, "--resume"]) == 0
    assert withhold.load(tmp_path / "run").finished
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    for name, weight in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "run")[name], weight), name


# Real processes.


def start(arguments, **environment):
    command = [sys.executable, "-m", "withhold", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(folder, count):
    deadline = time.time() + 120
    while time.time() < deadline:
        path = folder / "metrics.csv"
        if path.exists() and path.read_text().count("\n") > count:
            return
        time.sleep(0.02)
    raise AssertionError("the run never got going")


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "method.safetensors")


def test_two_processes_make_one_run(tmp_path):
    """Started by the command itself; both are needed to the end, and one of them speaks."""
    arguments = ["train", "simclr", "digits", "--size", "16", "--epochs", "1", "--batch-size", "64", "--devices", "2"]
    process = start([*arguments, "--out", str(tmp_path / "two"), "--json"])
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert json.loads(said)["steps"] == 1797 // 128
    assert withhold.load(tmp_path / "two").encoder.dim == 256


def test_a_process_that_is_terminated_before_its_first_step_says_so(tmp_path):
    process = start(["train", "rotation", "digits", "--minutes", "1", "--out", str(tmp_path / "run")])
    while "timing a few steps" not in process.stderr.readline():
        assert process.poll() is None
    process.terminate()
    assert "--resume" in process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM


def test_a_process_that_is_terminated_while_the_report_is_drawn_has_finished_its_run(tmp_path):
    process = start(["train", "rotation", "digits", "--epochs", "1", "--size", "16", "--out", str(tmp_path / "run")])
    while "writing the report" not in process.stderr.readline():
        assert process.poll() is None
    process.terminate()
    assert "--resume" in process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert withhold.load(tmp_path / "run").finished
    assert "outcome" in withhold.load(tmp_path / "run").config


def test_killed_and_terminated_processes_resume_to_the_same_weights(tmp_path):
    """SIGTERM saves and says how to go on, SIGKILL loses what came after the checkpoint: neither changes the end."""

    def arguments(name):
        return [
            "train",
            "moco",
            "digits",
            "--size",
            "16",
            "--epochs",
            "6",
            "--batch-size",
            "64",
            "--out",
            str(tmp_path / name),
            "queue=256",
        ]

    assert start(arguments("whole")).wait() == 0
    stopped = start(arguments("cut"))
    wait_for_rows(tmp_path / "cut", 10)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate()
    assert stopped.returncode == 128 + signal.SIGTERM, said
    assert "--resume" in said
    assert not (tmp_path / "cut" / "method.safetensors").exists()
    killed = start([*arguments("cut"), "--resume"])
    wait_for_rows(tmp_path / "cut", 40)
    killed.kill()
    killed.communicate()
    last = start([*arguments("cut"), "--resume"])
    _, said = last.communicate()
    assert last.returncode == 0, said
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    rows = [line.split(",")[0] for line in (tmp_path / "cut" / "metrics.csv").read_text().splitlines()[1:]]
    assert rows == sorted(set(rows), key=int), "a step stands in the journal twice"
