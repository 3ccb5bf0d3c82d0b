"""A run's folder, read again: what is refused, and which data its statistics come from."""

import json

import numpy as np
import pytest
from PIL import Image

import withhold
from withhold.errors import UsageError, WithholdError


def test_what_is_no_run_of_this_version_is_refused_in_a_sentence(make_run, tmp_path):
    folder = make_run().folder
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty is no run: it has no config\.json; give a folder that"):
        withhold.load(tmp_path / "empty")
    found = json.loads((folder / "config.json").read_text())
    del found["training"]
    (folder / "config.json").write_text(json.dumps(found | {"withhold": "0.1.0"}))
    with pytest.raises(WithholdError, match=r"was made by withhold 0\.1\.0, whose runs .* not read: train it again\."):
        withhold.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WithholdError, match=r"config\.json is damaged \(.*\): train this run again\."):
        withhold.load(folder)


def test_statistics_of_controls_are_of_the_training_data_as_they_were(tmp_path, photos, caplog):
    for name, crops in {"seen": photos[:24], "other": photos[24:48]}.items():
        for k, crop in enumerate(crops):
            (tmp_path / name / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(crop).save(tmp_path / name / "ab"[k % 2] / f"{k}.png")
    options = {"epochs": 1, "size": 16, "batch_size": 8, "out": tmp_path / "run"}
    run = withhold.train("rotation", str(tmp_path / "seen"), **options)
    rows = run.evaluate(str(tmp_path / "other"), protocols=("knn",))
    assert withhold.load(tmp_path / "run").evaluate(str(tmp_path / "other"), protocols=("knn",)) == rows
    with caplog.at_level("INFO"):
        assert "the training data" not in caplog.text
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "seen" / "a" / "new.png")
        withhold.load(tmp_path / "run").evaluate(str(tmp_path / "other"), protocols=("knn",))
    assert "the training data have changed: batch statistics are those of the items measured on" in caplog.text


def test_a_run_on_data_in_memory_holds_them(photos, tmp_path, caplog):
    options = {"epochs": 1, "size": 16, "batch_size": 8, "out": tmp_path / "run"}
    run = withhold.train("rotation", photos[:24], **options)
    with caplog.at_level("INFO"):
        run.evaluate((photos[24:48], np.arange(24) % 2), protocols=("knn",))
    assert "the training data" not in caplog.text
