"""Defaults chosen so that a training fits in a number of minutes."""

import json
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import withhold
from withhold import data, methods
from withhold.console import duration
from withhold.errors import UsageError, WithholdError
from withhold.options import Options
from withhold.runs import budget
from withhold.runs import run as module
from withhold.training import defaults


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    """Eighty photographs of 64 pixels."""
    (tmp_path / "photos").mkdir()
    for k, crop in enumerate(photos[:80]):
        Image.fromarray(crop).resize((64, 64)).save(tmp_path / "photos" / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    return "photos/"


@pytest.fixture
def pace(monkeypatch):
    """(items a second at 32 pixels) -> the sizes that a machine timed that is so fast, and as much slower as larger."""

    def make(fast):
        timed = []

        def speed(cls, streams, encoder, parameters, options):
            timed.append(encoder["size"])
            return fast * (32 / encoder["size"]) ** 2

        monkeypatch.setattr(budget, "speed", speed)
        return timed

    return make


# In thirty seconds of a minute twenty passes over 80 items are at least 53 items a second.
@pytest.mark.parametrize(
    ("fast", "size", "timed"),
    [(1000, 64, [32, 48, 64]), (150, 48, [32, 48, 64]), (60, 32, [32, 48]), (1, 32, [32, 48])],
)
def test_images_are_as_large_as_the_time_holds_enough_of(folder, pace, caplog, fast, size, timed):
    encoder = {"name": "convnet", "size": 64, "channels": 3, "pretrained": False}
    decoding = {"size": 64, "channels": 3}
    found = pace(fast)
    with caplog.at_level("INFO"):
        budget.fit_size(
            methods.find("simclr"), [folder], encoder, decoding, {}, Options(minutes=0.5), seconds=30.0
        )  # fmt: skip
    assert (encoder["size"], decoding["size"]) == (size, size)
    assert found == timed
    if size == 64:
        assert not caplog.messages
    else:
        passes = fast / 4 * 30 / 80
        wait = duration(30 * 20 / passes)
        assert f"at 64 px, 30 s allow about {passes:.1f} epochs; 20 would take about {wait} (see" in caplog.text


def label(count):
    """few.csv, with the labels of so many of the photographs."""
    rows = [f"{k}.png,{'ab'[k % 2]}\n" for k in range(count)]
    Path("few.csv").write_text("".join(["path,label\n", *rows]))


def test_passes_are_over_what_has_a_label(folder, pace):
    label(8)
    encoder, decoding = {"name": "convnet", "size": 64, "channels": 3, "pretrained": False}, {"size": 64, "channels": 3}
    timed = pace(60)  # which is too slow for all eighty photographs at more than 32 pixels
    decoding["kinds"] = {"labelled": "image"}
    cls, options = methods.find("finetune"), Options(minutes=0.5, labels="few.csv")
    budget.fit_size(cls, [folder], encoder, decoding, methods.configure(cls, {}), options, seconds=30.0)
    assert (encoder["size"], timed) == (64, [32, 48, 64])


def test_the_time_for_enough_passes_is_longer_than_what_does_not_hold_them(folder, pace, caplog):
    """Of a minute 30 s are left for training, which hold 15.8 passes: the others do not fit into what is left of it."""
    pace(15.8 * 80 / 30 * 4)
    encoder, decoding = {"name": "convnet", "size": 64, "channels": 3, "pretrained": False}, {"size": 64, "channels": 3}
    with caplog.at_level("INFO"):
        budget.fit_size(methods.find("simclr"), [folder], encoder, decoding, {}, Options(minutes=1), seconds=30.0)
    assert "at 64 px, 1 min allow about 15.8 epochs; 20 would take about 1 min 16 s" in caplog.text


def test_few_labels_among_many_items_need_no_batch_size(folder):
    label(6)
    run = withhold.train("finetune", folder, labels="few.csv", epochs=1, size=16, no_report=True, out="few")
    assert run.config["training"]["batch_size"] == 2


def test_labels_of_one_class_teach_no_classifier(folder, caplog):
    Path("one.csv").write_text("path,label\n" + "".join(f"{k}.png,dog\n" for k in range(9)))
    with pytest.raises(UsageError, match=r"All labels of photos/ are 'dog'\. finetune needs labels of at least two"):
        withhold.train("finetune", folder, labels="one.csv", epochs=1, size=16, out="one")
    assert not Path("one").exists()
    with caplog.at_level("INFO"):
        withhold.train("rotation", folder, labels="one.csv", epochs=1, size=16, no_report=True, out="one")
    assert "all labels are dog" in caplog.messages


def test_classes_that_differ_in_capitals_only_are_named(photos, tmp_path, caplog):
    labels = ["dog", "Dog", "cat", "DOG"] * 6
    withhold.train("rotation", (photos[:24], labels), epochs=1, size=16, out=tmp_path / "run", no_report=True)
    assert "DOG and Dog and dog are 3 classes: if they mean the same, use one spelling" in caplog.messages


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        (["elephant"] * 6 + ["zebra"] * 6 + ["elefant"] * 2, ["elefant and elephant"]),
        (["Tempel", "flower", *["temple "] * 3], ["Tempel and temple"]),
        (["horse"] * 9 + ["house"] * 4, []),
        (["class12345", "100001", "cats", "seven"] * 3 + ["class12346", "100002", "bats", "eleven"], []),
    ],
)
def test_words_that_may_be_mistyped_are_named(photos, tmp_path, caplog, labels, pairs):
    source = (photos[: len(labels)], labels)
    withhold.train("rotation", source, epochs=0, size=16, out=tmp_path / "run", no_report=True)
    said = [message.partition(" are 2 classes: if they mean the same")[0] for message in caplog.messages]
    assert [each for each in said if " and " in each] == pairs


def test_what_is_decoded_already_or_no_image_keeps_its_size(pace, photo_samples):
    timed = pace(1)
    for source, decoding in ((photo_samples, {"size": 64}), ("texts/", {"tokens": 8, "kinds": {"texts": "text"}})):
        before = dict(decoding)
        budget.fit_size(
            methods.find("simclr" if "size" in decoding else "bert"), [source], {"size": 64}, decoding, {},
            Options(minutes=1), seconds=30.0,
        )  # fmt: skip
        assert decoding == before
    assert timed == []


@pytest.mark.parametrize("name", ["simclr", "mixmatch", "colorization"])
def test_a_few_steps_are_timed_on_a_few_items(name, photos):
    samples = data.load((photos, np.arange(len(photos)) % 2), size=32)
    cls = methods.find(name)
    encoder = {"name": "convnet", "size": 32, "channels": cls.channels or 3, "pretrained": False}
    streams = dict.fromkeys(cls.needs, samples)
    assert 1 < budget.speed(cls, streams, encoder, methods.configure(cls, {}), Options(minutes=1)) < 1e6


def test_what_is_timed_is_one_batch(photos):
    feeder = budget.Repeated({"images": data.load(photos, size=32)}, methods.find("simclr").needs, 8, seed=0)
    first, second = feeder.iterate(0, 2)
    assert first is second


def test_what_has_passed_is_gone_but_half_of_the_minutes_are_for_training(monkeypatch):
    clock = types.SimpleNamespace(perf_counter=lambda: 110.0)
    monkeypatch.setattr(budget, "time", clock)
    assert budget.left(Options(minutes=1), began=100.0) == 60 - 10 - budget.ENDING
    assert budget.left(Options(minutes=1), began=0.0) == 30


def test_what_was_chosen_is_kept_and_what_is_named_wins(folder, pace, caplog):
    pace(60)
    options = {"minutes": 0.02, "no_report": True}
    with caplog.at_level("INFO"):
        run = withhold.train("rotation", folder, **options)
    assert run.config["decoding"]["size"] == run.config["encoder"]["size"] == 32
    assert not (run.folder / "report.html").exists()
    assert "1 class" not in caplog.text
    pace(10_000)
    again = withhold.train("rotation", folder, **options, resume=True)
    assert again.config["decoding"]["size"] == 32
    assert again.config["training"] == run.config["training"]
    pace(60)
    named = withhold.train("rotation", folder, **options, size=48, batch_size=16, out="named")
    assert (named.config["decoding"]["size"], named.config["training"]["batch_size"]) == (48, 16)
    passes = withhold.train("rotation", folder, epochs=1, no_report=True, out="passes")
    assert passes.config["decoding"]["size"] == 64
    later = withhold.train("rotation", folder, **options, encoder="named", out="later")
    assert later.config["decoding"]["size"] == 48  # that of the run that it goes on from


def test_a_batch_is_small_where_the_time_holds_few_steps(pace, photos, tmp_path):
    images = np.concatenate([photos] * 6)[:1300]  # for whose number alone it would be 128
    pace(100)
    run = withhold.train("rotation", images, minutes=0.02, no_report=True, out=tmp_path / "run")
    assert run.config["training"]["batch_size"] == 64


def test_a_report_that_fails_loses_nothing(photos, tmp_path, monkeypatch, caplog):
    def fail(*given):
        raise MemoryError("no room")

    monkeypatch.setattr(module, "write_report", fail)
    run = withhold.train("rotation", photos[:24], epochs=1, size=16, batch_size=8, out=tmp_path / "run")
    assert "The report could not be written (MemoryError: no room). The run itself is complete." in caplog.text
    assert f"To write it: withhold report {tmp_path / 'run'}" in caplog.text
    assert run.finished and run.encoder.dim
    assert json.loads((run.folder / "config.json").read_text())["outcome"]["steps"] == 3


def test_classes_are_told_before_training_the_rarest_first(photos, tmp_path, caplog):
    labels = ["dog"] * 12 + ["cat"] * 11 + ["dgo"]
    source = (photos[:24], labels)
    with caplog.at_level("INFO"):
        withhold.train("rotation", source, epochs=1, size=16, batch_size=8, out=tmp_path / "run", no_report=True)
    assert "3 classes, the rarest first: dgo 1, cat 11, dog 12" in caplog.messages
    caplog.clear()
    with caplog.at_level("INFO"):
        withhold.train(
            "rotation", (photos[:24], [f"c{min(k, 9)}" for k in range(24)]), epochs=1, size=16, batch_size=8,
            out=tmp_path / "many", no_report=True,
        )  # fmt: skip
    assert "10 classes, the rarest first: c0 1, c1 1, c2 1, c3 1, c4 1, c5 1, c6 1, c7 1 ... c9 15" in caplog.messages


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ({"32-true": 100, "bf16-mixed": 150}, "bf16-mixed"),
        ({"32-true": 100, "bf16-mixed": 105}, "32-true"),
        ({"32-true": 100, "bf16-mixed": 20}, "32-true"),
        ({"32-true": 100, "bf16-mixed": None}, "32-true"),
    ],
)
def test_minutes_are_trained_in_the_precision_that_is_faster(folder, monkeypatch, rates, taken):
    def speed(cls, streams, encoder, parameters, options):
        if rates[options.precision] is None:
            raise WithholdError("The loss is not finite.")
        return rates[options.precision]

    monkeypatch.setattr(budget, "speed", speed)
    monkeypatch.setattr(defaults, "precisions", lambda *args: ["32-true", "bf16-mixed"])
    run = withhold.train("rotation", folder, size=16, batch_size=8, minutes=0.02, out="paced")
    assert run.config["training"]["precision"] == taken
    fixed = withhold.train("rotation", folder, size=16, batch_size=8, epochs=0.2, out="counted")
    assert fixed.config["training"]["precision"] == "32-true"  # what is counted repeats itself anywhere
    named = {"minutes": 0.02, "precision": "32-true", "out": "named"}
    run = withhold.train("rotation", folder, size=16, batch_size=8, **named)
    assert run.config["training"]["precision"] == "32-true"


def test_a_run_keeps_its_precision_when_it_goes_on(folder, monkeypatch):
    monkeypatch.setattr(defaults, "precisions", lambda *args: ["bf16-mixed"])
    withhold.train("rotation", folder, size=16, batch_size=8, minutes=0.02, out="paced")
    monkeypatch.setattr(defaults, "precisions", lambda *args: ["32-true"])
    run = withhold.train("rotation", folder, size=16, batch_size=8, minutes=0.04, out="paced", resume=True)
    assert run.config["training"]["precision"] == "bf16-mixed"


def test_a_second_precision_is_tried_where_that_takes_little_time(monkeypatch):
    asked = []
    monkeypatch.setattr(budget, "speed", lambda cls, streams, encoder, parameters, options: asked.append(1) or 1.0)
    known = ["bf16-mixed", "32-true"]
    for seconds, times in ((0.0, 1), (60.0, 2)):
        asked.clear()
        budget.timed(methods.find("rotation"), {}, {}, {}, Options(), known, seconds)
        assert len(asked) == times
