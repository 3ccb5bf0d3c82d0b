"""Several runs side by side."""

import json
from dataclasses import dataclass

import pytest

from tests.data.test_boxes import picture, voc
from withhold.console import print_comparison
from withhold.errors import UsageError
from withhold.report.compare import column, compare, transfer


def test_a_row_holds_what_the_run_is_and_what_came_out(make_run, capsys):
    results = [
        {"encoder": encoder, "protocol": "knn", "metric": "accuracy", "value": value, "data": "digits", "n_test": 8}
        for encoder, value in [("trained", 0.75), ("untrained", 0.5), ("pixels", 0.25)]
    ]
    results.append({**results[0], "encoder": "start", "value": 0.625})
    results.append({**results[0], "protocol": "lowshot", "shots": 5, "value": 0.4, "deviation": 0.1})
    results.append({**results[0], "data": "photos", "value": 0.1})
    done, begun = make_run("done", results=results), make_run("begun", rows=[], finished=False)
    first, other, second = compare([done, begun])
    about = {
        "run": str(done.folder), "method": "rotation", "encoder": "convnet", "data": "digits", "seed": 3,
        "steps": 20, "seconds": 10.0, "loss": 0.5,
    }  # fmt: skip
    measures = {"knn": 0.75, "lowshot 5/class": 0.4, "knn untrained": 0.5, "knn start": 0.625}
    assert first == about | {"measured on": "digits", "items": 8} | measures
    print_comparison([first, other])
    said = capsys.readouterr().out
    assert "0.750 (0.500, 0.625)" in said
    assert (
        "In brackets: the same encoder randomly initialised, and with the weights that training started from." in said
    )
    assert other == about | {"measured on": "photos", "items": 8, "knn": 0.1}
    assert second == {
        "run": str(begun.folder), "method": "rotation", "encoder": "convnet", "data": "digits", "seed": 3
    }  # fmt: skip


@dataclass
class Frozen:
    """An encoder that is worth what `values` say, by protocol and row."""

    name: str
    values: dict
    row: str = "trained"

    @property
    def config(self):
        return {"encoder": {"name": "convnet"}} | ({"method": "rotation"} if self.row == "trained" else {})

    def kind_of(self, source):
        return "image"

    def evaluate(self, source, protocols, budget):
        (protocol,) = protocols
        metrics = {"linear": "accuracy", "segmentation": "mean IoU", "detection": "AP50"}
        for (measured, encoder), value in self.values.items():
            if measured == protocol:
                about = {"encoder": encoder, "metric": metrics[protocol], "n_test": 7}
                yield about | {"value": value}
                yield about | {"metric": "another", "value": 0.0}
                yield about | {"value": budget, "by": "boxes"}


def test_what_transfers_to_what_is_measured_by_what_data_say(tmp_path, capsys):
    voc(tmp_path / "cells")
    for name in ("cat/a.png", "dog/b.png"):
        picture(tmp_path / "photos" / name)
    for stem in "abc":
        picture(tmp_path / "scenes" / "images" / f"{stem}.png")
        picture(tmp_path / "scenes" / "masks" / f"{stem}.png")
    sources = [str(tmp_path / "cells"), str(tmp_path / "scenes"), str(tmp_path / "photos")]
    values = {
        ("detection", "trained"): 0.5, ("detection", "untrained"): 0.25, ("detection", "places"): 0.125,
        ("segmentation", "trained"): 0.75, ("segmentation", "start"): 0.5, ("linear", "trained"): 1.0,
        ("linear", "pixels"): 0.375,
    }  # fmt: skip
    pretrained = Frozen("pretrained weights", {("detection", "pretrained"): 0.625}, "pretrained")
    rows = transfer([Frozen("runs/a", values), pretrained], sources, 9)
    assert rows == [
        {
            "run": "runs/a", "method": "rotation", "encoder": "convnet", "cells detection AP50": 0.5,
            "cells detection AP50 untrained": 0.25, "cells items": 7,
            "scenes segmentation mean IoU": 0.75,
            "scenes segmentation mean IoU start": 0.5, "scenes items": 7,
            "photos linear accuracy": 1.0, "photos items": 7,
        },
        {"run": "pretrained weights", "method": "pretrained", "encoder": "convnet", "cells detection AP50": 0.625,
         "cells items": 7},
        {"run": "places", "cells detection AP50": 0.125},
        {"run": "pixels", "photos linear accuracy": 0.375},
    ]  # fmt: skip
    print_comparison(rows)
    assert "0.500 (0.250)" in capsys.readouterr().out
    again = tmp_path / "again" / "photos"
    for name in ("cat/a.png", "dog/b.png"):
        picture(again / name)
    (row, _) = transfer([Frozen("runs/a", values)], [sources[2], str(again)])
    assert {name for name in row if "items" in name} == {f"{sources[2]} items", f"{again} items"}
    with pytest.raises(UsageError, match="has no classes, masks or boxes to measure encoders on"):
        transfer([pretrained], [str(tmp_path / "scenes" / "images")])


def test_controls_that_differ_between_encoders_have_a_row_each(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        picture(tmp_path / "photos" / name)
    encoders = [
        Frozen(name, {("linear", "trained"): 1.0, ("linear", "pixels"): value})
        for name, value in (("a", 0.5), ("b", 0.25))
    ]
    assert transfer(encoders, [str(tmp_path / "photos")])[2:] == [
        {"run": "pixels, a", "photos linear accuracy": 0.5}, {"run": "pixels, b", "photos linear accuracy": 0.25}
    ]  # fmt: skip


def test_the_doctor_knows_a_control_that_beats_the_kept_route(make_run):
    run = make_run()
    rows = [
        {"route": name, "accuracy": value, "control": name == "pixels"}
        for name, value in (("pixels", 0.75), ("x", 0.5))
    ]
    (run.folder / "learn.json").write_text(json.dumps({"rows": rows, "kept": "x"}))
    (said,) = (finding for finding in run.doctor() if "pixels" in finding)
    assert said.startswith("The control pixels has a cross-validated accuracy of 75.0%, and the kept route, x, 50.0%")
    (run.folder / "learn.json").write_text(json.dumps({"rows": rows[1:], "kept": "x"}))
    assert not any("control" in finding for finding in run.doctor())


def test_the_doctor_looks_at_the_control(make_run):
    rows = [
        {"encoder": encoder, "protocol": "linear", "metric": "accuracy", "value": value, "data": "digits", "n_test": 8}
        for encoder, value in [("trained", 0.5), ("untrained", 0.5)]
    ]
    (found,) = make_run("low", results=rows).doctor()
    assert found.startswith(
        "The accuracy of a linear probe on digits is 50.0% with this encoder and 50.0% with a randomly"
    )
    assert make_run("high", results=[rows[0] | {"value": 0.6}, rows[1]]).doctor() == []


def test_the_doctor_names_a_classifier_with_one_answer(make_run):
    run = make_run("same")
    run.config["outcome"] = {"one class": {"class": "sea", "predicted": 1.0, "told": 0.25}}
    (found,) = run.doctor()
    assert found.startswith(
        "The classifier predicts sea for 100% of the unlabelled training samples, but only 25% of the labels are sea."
    )


def test_a_game_shows_the_loss_of_each_player(make_run):
    rows = [{"step": 5, "epoch": 1, "seconds": 2, "generator/loss": 0.5, "critic/loss": 0.7, "critic/accuracy": 0.6}]
    row = compare([make_run("game", rows=rows)])[0]
    assert (row["generator/loss"], row["critic/loss"]) == (0.5, 0.7)
    assert "critic/accuracy" not in row


def test_a_column_names_the_metric_unless_it_is_accuracy():
    assert column({"protocol": "linear", "metric": "accuracy"}) == "linear"
    assert column({"protocol": "segmentation", "metric": "miou"}) == "segmentation miou"
