"""`withhold learn` from the command line: from a folder and a few labels of any kind to a run."""

import csv
import json
import signal
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from withhold.cli import main
from withhold.contract import tiny
from withhold.data.sounds import encode
from withhold.errors import UsageError
from withhold.learning import folds, walk
from withhold.learning.given import Given
from withhold.runs.stages import stage


def told(path, names, labels):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *zip(names, labels, strict=True)])


def photographs(folder, count=60, few=16, wrong=()):
    """Photographs of two scenes, without a folder a class; the labels of a few, those of `wrong` the other one."""
    (folder / "photos").mkdir()
    for i, photo in enumerate(tiny.photographs().array[:count]):
        Image.fromarray(photo).save(folder / "photos" / f"{i:02d}.png")
    labels = [("temple", "flower")[(i + (i in wrong)) % 2] for i in range(few)]
    told(folder / "few.csv", [f"{i:02d}.png" for i in range(few)], labels)


def texts(folder):
    (folder / "texts").mkdir()
    for i, text in enumerate(tiny.documents()):
        (folder / "texts" / f"{i}.txt").write_text(text)
    told(folder / "few.csv", [f"{i}.txt" for i in range(12)], ["sea", "bread"] * 6)


def sounds(folder):
    (folder / "sounds").mkdir()
    for i in range(16):
        wave = tiny.sounds(0.5).whole(i)
        (folder / "sounds" / f"{i}.wav").write_bytes(encode(wave, tiny.RATE))
    told(folder / "few.csv", [f"{i}.wav" for i in range(8)], ["low", "high"] * 4)


def videos(folder):
    (folder / "videos").mkdir()
    for i in range(12):
        with av.open(str(folder / "videos" / f"{i}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=15)
            stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
            for frame in tiny.videos(8, 8.0).whole(i)[:8]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode())
    told(folder / "few.csv", [f"{i}.mp4" for i in range(8)], ["right", "left"] * 4)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where an hour is always left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(walk.Walk, "left", property(lambda self: 60.0))
    return tmp_path


def learn(*words, status=0):
    assert main(["learn", *words]) == status


def state(folder="run"):
    return json.loads(Path(folder, "learn.json").read_text())


def rows(folder="run"):
    return {row["route"]: row for row in state(folder)["rows"]}


def test_images_go_up_the_whole_ladder(home, monkeypatch, capsys):
    photographs(home)
    monkeypatch.setattr(walk, "PASSES", dict.fromkeys(walk.PASSES, 0))  # all trainings are worth it
    monkeypatch.setattr(folds, "PARTS", 2)
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.05", "--out", "run")
    said = capsys.readouterr().out
    found = rows()
    features = ("frozen features", "features after simclr")
    ways = ("logistic regression", "label propagation")
    assert list(found) == [
        "pixels, logistic regression", *(f"{name}, {way}" for name in features for way in ways), "finetune", "uda"
    ]  # fmt: skip
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in found.values())
    assert "withhold apply run photos --out named" in said
    start, learned = (withhold.load(f"run/stages/{name}").config for name in ("start", "learned"))
    assert start["outcome"]["steps"] == 0  # a probe is no training
    assert learned["training"]["size"] == start["decoding"]["size"]  # all routes have images of one size
    assert "Kept: " in said and "Comparison of routes" in Path("run/report.html").read_text()
    told = {f"{i:02d}.png" for i in range(16)}
    assert len(state()["next"]) == 20 and not told & {row["item"] for row in state()["next"]}
    assert main(["apply", "run", "photos", "--out", "named"]) == 0
    assert "not calibrated" not in capsys.readouterr().out
    run = withhold.load("run")
    assert run.labels_told == 16 and run.finished
    assert sum(run.classify("photos").column("told").to_pylist()) == 16
    assert main(["export", "run", "--to", "safetensors", "--out", "encoder.safetensors"]) == 0
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.05", "--out", "run")
    with pytest.raises(UsageError, match=r"was made with minutes 0\.05, not 3\. Repeat"):
        withhold.learn("photos", labels="few.csv", encoder="convnet", minutes=3, out="run")


def test_a_run_by_propagated_labels_keeps_them(home, monkeypatch):
    photographs(home)
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)  # label propagation
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    assert state()["kept"].endswith("label propagation")
    (streams,) = withhold.load("run").streams()
    assert (streams.labels >= 0).sum() > 16


def test_labels_are_propagated_to_names_of_any_kind(home, monkeypatch):
    photographs(home)
    (home / "photos" / "30.png").rename(home / "photos" / "caf\udce9.png")
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    assert state()["kept"].endswith("label propagation")


def test_an_item_that_is_listed_twice_keeps_its_label(home, monkeypatch):
    photographs(home)
    labels = [("temple", "flower")[i % 2] if i < 16 else "" for i in range(60)]
    told(home / "list.csv", [*(f"photos/{i:02d}.png" for i in range(60)), "photos/00.png"], [*labels, "flower"])
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    learn("list.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    (samples,) = withhold.load("run").streams()
    assert [samples.classes[i] for i in samples.labels[:16]] == labels[:16]


def test_labels_of_earlier_trainings_stay_known(home, monkeypatch):
    photographs(home)
    told(home / "before.csv", ["40.png", "41.png"], ["temple", "flower"])
    withhold.train("finetune", "photos", labels="before.csv", encoder="convnet", epochs=0, out="before")
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    run = withhold.learn("photos", labels="few.csv", encoder="before", minutes=0.01, out="run")
    assert state()["kept"].endswith("label propagation")
    assert sum(run.classify("photos").column("told").to_pylist()) == 18


def test_parameters_of_finetune_leave_the_frozen_probe_as_it_is_measured(home):
    photographs(home, few=5)
    withhold.learn(
        "photos", labels="few.csv", encoder="convnet", minutes=1, out="run", freeze=2, probe=False, balance=True
    )
    parameters = withhold.load("run").config["parameters"]
    assert (parameters["freeze"], parameters["probe"], parameters["balance"]) == ("all", True, False)


def test_labels_that_the_encoder_was_trained_with_are_not_compared(home):
    """With random labels of noise, an encoder that has learned some by heart knows nothing of the others."""
    noise, labels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), ["a", "b"] * 20
    (home / "noise").mkdir()
    for i, image in enumerate(noise):
        Image.fromarray(image).save(home / "noise" / f"{i:02d}.png")
    names = [f"{i:02d}.png" for i in range(40)]
    told(home / "first.csv", names[:20], labels[:20])
    told(home / "few.csv", names, labels)
    train = {"encoder": "convnet", "epochs": 40, "batch_size": 20, "size": 16, "flip": 0.0, "no_report": True}
    withhold.train("finetune", "noise", labels="first.csv", out="before", **train)
    withhold.learn("noise", labels="few.csv", encoder="before", minutes=0.01, out="run")
    assert rows()["frozen features, logistic regression"]["accuracy"] < 0.9  # of the ones learned by heart it is 1
    assert "not compared on 20 items whose labels the encoder was trained with" in state()["why"]
    withhold.learn("noise", labels="first.csv", encoder="before", minutes=0.01, out="again")
    assert "not counting the 20 whose labels the encoder was trained with" in state("again")["why"]
    assert not rows("again")


def test_controls_are_fitted_to_the_given_labels_and_not_to_propagated_ones(home, monkeypatch):
    photographs(home)
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    run = withhold.learn("photos", labels="few.csv", encoder="convnet", minutes=0.01, out="run")
    assert state()["kept"].endswith("label propagation")
    told(home / "held.csv", [f"{i:02d}.png" for i in range(20, 60)], ["temple", "flower"] * 20)
    measured = run.evaluate("photos", labels="held.csv", protocols=("classifier",))
    assert {row["encoder"]: row["n_train"] for row in measured}["untrained"] == 16


def test_a_kept_run_on_all_images_reads_them_again(home, monkeypatch):
    photographs(home)
    for i in range(60):
        (home / "sorted" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (home / "photos" / f"{i:02d}.png").rename(home / "sorted" / "ab"[i % 2] / f"{i:02d}.png")
    monkeypatch.setattr(walk, "PASSES", {"without": 1e9, "finetune": 1e9, "all": 0})
    monkeypatch.setattr(folds, "PARTS", 2)
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    withhold.learn("sorted", labels="few.csv", encoder="convnet", minutes=0.03, out="run")
    assert state()["kept"] == "uda"
    labelled, unlabelled = withhold.load("run").streams()
    assert int((labelled.labels >= 0).sum()) == 16 and len(unlabelled) == 60


def test_other_labels_are_another_walk(home, capsys):
    photographs(home)
    words = ["photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run"]
    learn(*words)
    told(home / "few.csv", [f"{i:02d}.png" for i in range(18)], ["temple", "flower"] * 9)
    learn(*words, status=2)
    assert "the labels of run have changed since it began. Choose another --out" in capsys.readouterr().err
    learn(*words[:2], "gone.csv", *words[3:], status=2)
    assert "There is no file of labels 'gone.csv'" in capsys.readouterr().err


def test_a_class_that_no_item_has_is_no_class(home, monkeypatch):
    photographs(home)
    with open(home / "few.csv", "a") as file:
        file.write("gone.png,apple\n")  # which comes before the others
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    assert state()["finished"]
    assert "label propagation" in Path("run/report.html").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("path,label\ngone.txt,sea\n", "No name in few.csv matches an item of texts: a name in it is 'gone.txt'"),
        ("path,label\n1.txt,sea\n2.txt,sea\n", "All labels of texts are 'sea'"),
        ("path,label\n1.txt,sea\n1.txt,bread\n", "gives 1.txt two labels, 'sea' and 'bread'"),
        ("path,label\n1.txt,\n", "texts has no labels"),
    ],
)
def test_wrong_labels_are_found_before_anything_is_learned(home, monkeypatch, capsys, wrong, said):
    texts(home)
    (home / "few.csv").write_text(wrong)
    monkeypatch.setattr(walk.Walk, "learned", None)  # which would be called first
    learn("texts", "--labels", "few.csv", "--minutes", "0.05", "--out", "run", "tokens=32", status=2)
    assert said in capsys.readouterr().err
    assert not (home / "run").exists()


def test_labels_of_several_files_count(home):
    photographs(home)
    told(home / "more.csv", ["20.png", "21.png"], ["temple", "flower"])
    words = ["photos", "--labels", "few.csv", "--labels", "more.csv", "--encoder", "convnet", "--minutes", "0.01"]
    learn(*words, "--out", "run")
    assert withhold.load("run").labels_told == 18
    learn(*words, "--out", "run")


def test_texts_begin_with_word_vectors(home):
    texts(home)
    learn("texts", "--labels", "few.csv", "--minutes", "0.05", "--out", "run", "tokens=32")
    found = rows()
    assert {"tf-idf, logistic regression", "word vectors, logistic regression", "finetune", "uda_text"} <= set(found)
    assert main(["apply", "run", "the ship sails the sea"]) == 0


def test_an_encoder_that_the_method_without_labels_does_not_train_is_used_as_it_is(home, caplog):
    texts(home)
    with caplog.at_level("INFO", "withhold"):
        learn(
            "texts",
            "--labels",
            "few.csv",
            "--encoder",
            "text-transformer",
            "--minutes",
            "0.01",
            "--out",
            "run",
            "tokens=32",
        )
    assert "skipgram does not train this encoder; learning without labels is skipped" in caplog.text
    assert state()["finished"]


def test_sounds_say_that_nothing_learns_from_them_alone(home, caplog):
    sounds(home)
    with caplog.at_level("INFO", "withhold"):
        learn("sounds", "--labels", "few.csv", "--minutes", "0.02", "--out", "run", "seconds=0.5")
    assert "no method trains on audio data without labels" in caplog.text
    assert {"pretrained features, logistic regression", "spectrogram, logistic regression"} <= set(rows())
    assert withhold.load("run").config["parameters"]["seconds"] == 0.5


def test_videos(home):
    videos(home)
    learn("videos", "--labels", "few.csv", "--minutes", "0.02", "--out", "run", "--size", "32", "frames=8")
    assert "features after shuffle_and_learn" in rows()
    assert withhold.load("run").kind == "video"


def test_a_planted_wrong_label_is_found(home):
    photographs(home, few=24, wrong=(7,))
    withhold.learn("photos", labels="few.csv", encoder="convnet", minutes=0.01, out="run")
    doubted = state()["mislabelled"]
    assert doubted[0]["item"] == "07.png" and doubted[0]["likeliest"] == "flower" and doubted[0]["told"] == "temple"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_item_that_cannot_be_read_is_not_suggested_for_labelling(home, monkeypatch, streamed):
    if streamed:
        monkeypatch.setenv("WITHHOLD_CACHE_LIMIT", "1KB")
    photographs(home)
    whole = (home / "photos" / "30.png").read_bytes()
    (home / "photos" / "30.png").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(walk, "NEXT", 60)
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    assert {item["item"] for item in state()["next"]} == {f"{i:02d}.png" for i in range(16, 60)} - {"30.png"}


def test_too_few_labels_take_the_frozen_route_and_say_so(home, capsys):
    photographs(home, few=5)
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    assert "class flower has 2 of the 3 different labelled items" in capsys.readouterr().out
    assert not rows() and withhold.load("run").names_classes
    assert main(["apply", "run", "photos/01.png"]) == 0


def test_items_that_were_chosen_are_no_random_sample(home, capsys):
    photographs(home)
    lines = Path("few.csv").read_text().splitlines()
    chosen = ["typical of unlabelled items (1.2)", "drawn at random", ""]
    rows = [f"{line},1.0,{chosen[min(place, 2)]}" for place, line in enumerate(lines[1:])]
    Path("few.csv").write_text("\n".join(["path,label,score,why", *rows]))
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.05", "--out", "run")
    assert "the items of 1 label were chosen by withhold label" in state()["why"]


def test_a_mistyped_label_does_not_stop_the_comparison(home, caplog):
    photographs(home)
    with open(home / "few.csv", "a") as file:
        file.write("20.png,Temple\n")
    learn("photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run")
    assert (
        "Temple: fewer than 3 different labelled items; used for training, but left out of the comparison"
        in caplog.messages
    )
    assert "not compared on Temple: fewer than 3 different labelled items" in state()["why"]
    assert caplog.messages.count("Temple and temple are 2 classes: if they mean the same, use one spelling") == 1
    assert len(rows()) > 2
    assert "Temple" in withhold.load("run").config["classes"]


def test_an_interrupted_walk_has_a_run_and_goes_on(home, monkeypatch):
    photographs(home)
    command = ["photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.01", "--out", "run"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(walk.Walk, "fits", stop)
        learn(*command, status=130)
    began = rows()
    assert withhold.load("run").classify("photos").num_rows == 60
    monkeypatch.setattr(walk.routes.logistic, "head", stop)  # nothing is measured again
    learn(*command)
    assert {name: rows()[name] for name in began} == began
    assert rows()["uda"]["needs"] > 0


def test_a_finished_classifier_is_not_trained_again(home, monkeypatch):
    photographs(home)
    monkeypatch.setattr(walk, "PASSES", {"without": 1e9, "finetune": 0, "all": 1e9})
    monkeypatch.setattr(folds, "PARTS", 2)
    monkeypatch.setattr(folds, "choose", lambda right: len(right) - 1)
    words = ["photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.05", "--out", "run"]
    learn(*words)
    assert state()["kept"] == "finetune" and rows()["finetune"]["each"] > 0
    Path("run/learn.json").write_text(json.dumps(state() | {"finished": False}))
    monkeypatch.setattr(walk.Walk, "install", None)
    learn(*words)
    assert state()["kept"] == "finetune" and state()["finished"]


def test_training_without_labels_goes_on_where_it_was_interrupted(home, monkeypatch, caplog):
    photographs(home)
    monkeypatch.setattr(walk, "PASSES", {"without": 0, "finetune": 1e9, "all": 1e9})
    command = ["photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "0.2", "--out", "run"]
    train = Given.train

    def stop_later(self, method, *sources, **options):
        def progress(row, steps):
            if method == "simclr" and row["step"] == 1:
                signal.raise_signal(signal.SIGINT)

        return train(Given(**vars(self) | {"progress": progress}), method, *sources, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Given, "train", stop_later)
        learn(*command, status=130)
    with caplog.at_level("INFO"):
        learn(*command)
    assert "run/stages/learned resumes from its last checkpoint" in caplog.messages
    assert "features after simclr, logistic regression" in rows()


def test_a_stage_that_cannot_be_resumed_is_trained_again(home, monkeypatch, caplog):
    made = []

    def train(path, **options):
        made.append(options)
        return withhold.train(
            "rotation", tiny.photographs(), out=path, size=16, batch_size=8, no_report=True, **options
        )

    train(home / "stage", epochs=1)
    config = json.loads((home / "stage" / "config.json").read_text())
    del config["outcome"]  # as if it had not finished
    (home / "stage" / "config.json").write_text(json.dumps(config | {"withhold": "0.0.1"}))
    for ending in ("encoder.safetensors", "method.safetensors"):
        (home / "stage" / ending).unlink()
    (home / "stage" / "checkpoints").mkdir(exist_ok=True)
    (home / "stage" / "checkpoints" / "last.ckpt").touch()
    again = stage(home / "stage", lambda to: train(to, epochs=1), lambda to, before: train(to, epochs=1, resume=True))
    assert again.finished and [options.get("resume", False) for options in made] == [False, True, False]
    assert "cannot be resumed" in caplog.text


def test_word_vectors_survive_an_interruption(home, monkeypatch):
    texts(home)
    command = ["texts", "--labels", "few.csv", "--minutes", "0.02", "--out", "run", "tokens=32"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Given, "probe", stop)
        learn(*command, status=130)
    assert withhold.load("run/stages/learned").finished
    before = Path("run/stages/learned/encoder.safetensors").stat().st_mtime_ns
    learn(*command)
    assert Path("run/stages/learned/encoder.safetensors").stat().st_mtime_ns == before
    assert "word vectors, logistic regression" in rows()


def test_a_run_and_pretrained_weights_are_two_starts(home, capsys):
    photographs(home)
    withhold.train("finetune", "photos", labels="few.csv", encoder="convnet", epochs=0, out="before", no_report=True)
    learn("photos", "--labels", "few.csv", "--encoder", "before", "--pretrained", "--out", "run", status=2)
    assert "before and --pretrained are two starting points" in capsys.readouterr().err


def test_other_arrays_are_another_walk(home):
    photos, labels = tiny.photographs().array[:20], np.arange(20) % 2
    settings = {"encoder": "convnet", "minutes": 0.01}
    first = withhold.learn((photos, labels), **settings)
    assert withhold.learn((photos, labels), **settings).folder == first.folder  # finished
    with pytest.raises(UsageError, match=r"The items or the labels of .*learn-data have changed since it began"):
        withhold.learn((photos, 1 - labels), **settings)
    with pytest.raises(UsageError, match=r"have changed since it began"):
        withhold.learn((255 - photos, labels), **settings)


def test_a_walk_on_arrays_goes_on(home, monkeypatch):
    photos = tiny.photographs().array[:30]
    source = (photos, np.where(np.arange(30) < 16, np.arange(30) % 2, -1))
    settings = {"encoder": "convnet", "minutes": 0.01, "out": "run"}

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(walk.Walk, "fits", stop)
        with pytest.raises(KeyboardInterrupt):
            withhold.learn(source, **settings)
    withhold.learn(source, **settings)
    assert state()["finished"]


def test_what_the_clock_leaves_no_time_for_is_left_out_and_stays_so(home, monkeypatch, caplog):
    """A part of what takes longer than it has; and of what is measured, all but the first features."""
    photographs(home)
    late = property(lambda self: -0.5 if self.row("frozen features") else 1.0)
    monkeypatch.setattr(walk.Walk, "left", late)
    monkeypatch.setattr(walk.routes, "embedded", lambda known, run, path: (torch.randn(60, 8), 1e-3))
    words = ["photos", "--labels", "few.csv", "--encoder", "convnet", "--minutes", "1", "--out", "run"]
    learn(*words)
    found = rows()
    assert "accuracy" in found["frozen features, logistic regression"]
    for name in ("frozen features, label propagation", "features after simclr", "finetune", "uda"):
        assert found[name]["has"] == 0 < found[name]["takes"] and found[name]["needs"] > 1
    page = Path("run/report.html").read_text()
    assert "has 0 s: give about 1 min" in page and "took 1 min 30 s" in caplog.text
    asked = state()["rows"]
    changed = json.loads(Path("run/learn.json").read_text()) | {"finished": False}
    Path("run/learn.json").write_text(json.dumps(changed))
    monkeypatch.setattr(walk.Walk, "left", property(lambda self: 1.0))  # which decides nothing again
    learn(*words)
    assert state()["rows"] == asked


def test_the_clock_goes_on_after_an_interruption(home, monkeypatch):
    photographs(home)
    monkeypatch.undo()
    monkeypatch.chdir(home)
    given = Given("photos", ["few.csv"], "image", 2.0, 0, {})
    (home / "run").mkdir()
    first = walk.Walk(home / "run", given, {"data": None}, lambda row: None)
    first.began -= 60
    first.save()
    again = walk.Walk(home / "run", given, {"data": None}, lambda row: None)
    assert 0.9 < again.left <= 1.0
    assert again.part("without") == pytest.approx(0.6) and again.part("all") == pytest.approx(0.6)
    again.began -= 57
    assert again.part("all") == pytest.approx(0.05, abs=0.02)
    monkeypatch.setattr(walk.Walk, "measure_all", lambda self, *start: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        again.go(None, False, None)
    assert state()["spent"] > 1.9  # also if a training was interrupted


def test_only_the_given_labels_are_known(home):
    """A folder that is sorted into classes, of which a file tells a few: the rest are for whoever tests with them."""
    photographs(home)
    right = {f"{i:02d}.png": ("temple", "flower")[i % 2] for i in range(60)}
    for sort in ("temple", "flower"):
        (home / "sorted" / sort).mkdir(parents=True)
    found = []
    for turned in (False, True):  # what the folders say of the others changes nothing
        for name, label in right.items():
            other = {"temple": "flower", "flower": "temple"}[label] if turned and int(name[:2]) >= 16 else label
            for old in (home / "sorted").rglob(name):
                old.unlink()
            Image.open(home / "photos" / name).save(home / "sorted" / other / name)
        run = withhold.learn("sorted", labels="few.csv", encoder="convnet", minutes=0.01, out=f"run{turned}")
        found.append([{**row, "minutes": 0, "needs": 0} for row in rows(f"run{turned}").values()])
        assert run.labels_told == 16
    assert [row for row in found[0] if "regression" in row["route"]] == [
        row for row in found[1] if "regression" in row["route"]
    ]


def test_the_kept_probabilities_have_the_temperature_of_the_held_out_ones(home):
    photographs(home)
    run = withhold.learn("photos", labels="few.csv", encoder="convnet", minutes=0.01, out="run")
    kept = state()["kept"]
    heat = rows()[kept]["temperature"]
    assert run.config["temperature"] == heat
    before = withhold.load("run/stages/start")
    if "regression" in kept:
        torch.testing.assert_close(run.method.head.weight * heat, before.method.head.weight)


def test_images_are_as_large_as_the_minutes_bear(home, monkeypatch):
    photographs(home)
    monkeypatch.setattr(Given, "timed", lambda self, encoder, size: size**2 / 224**2)  # seconds
    sizes = [Given("photos", None, "image", minutes, 0, {}).suited("efficientnet-lite0") for minutes in (9, 3, 1, 0.01)]
    assert sizes == [224, 128, 96, 32]  # of sixty images: 60, 20, 11 and 1 s, of 108, 36, 12 and 0.1 s


def test_what_makes_no_sense_is_said(home):
    photographs(home)
    with pytest.raises(UsageError, match="None of finetune, simclr, uda takes a parameter 'tokns'"):
        withhold.learn("photos", labels="few.csv", tokns=3)
    with pytest.raises(UsageError, match="The minutes must be a number above 0, not 0"):
        withhold.learn("photos", labels="few.csv", minutes=0)
    with pytest.raises(UsageError, match=r"no file of labels 'fwe\.csv'"):
        withhold.learn("photos", labels="fwe.csv", encoder="convnet", out="run")
    assert not (home / "run").exists()
    (home / "mine").mkdir()
    (home / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="mine is not empty"):
        withhold.learn("photos", labels="few.csv", encoder="convnet", out="mine")
    learn("photos", "photos", status=2)
