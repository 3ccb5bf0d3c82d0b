"""Run folders: what is refused on loading, and the data of the statistics."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import withhold
from withhold.errors import UsageError, WithholdError
from withhold.runs.folder import folder_of

TOY = '''"""A toy."""
from withhold.methods import method
from withhold.methods.image.rotation import Rotation


@method(paper="Nobody, 2020", needs={"images": "image"}, family="known inverse")
class Mine(Rotation):
    """Withholds the rotation of an image."""
'''


def test_what_is_no_run_of_this_version_is_refused_in_a_sentence(make_run, tmp_path):
    folder = make_run().folder
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty is not a run: it has no config\.json\. Give a folder that"):
        withhold.load(tmp_path / "empty")
    found = json.loads((folder / "config.json").read_text())
    del found["training"]
    (folder / "config.json").write_text(json.dumps(found | {"withhold": "0.1.0"}))
    with pytest.raises(WithholdError, match=r"was made by withhold 0\.1\.0, and .* cannot read it\. Train it again\."):
        withhold.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WithholdError, match=r"config\.json is damaged \(.*\)\. Train this run again\."):
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
    assert "the training data have changed: batch statistics are computed on the data of the evaluation" in caplog.text


def test_the_class_of_a_method_in_a_file_is_read_once(tmp_path, photos):
    path = tmp_path / "mine.py"
    path.write_text(TOY)
    run = withhold.train(str(path), photos[:16], epochs=0, size=32, out=tmp_path / "run", no_report=True)
    assert run.cls is run.cls and not run.names_classes
    assert run.config["training"]["steps"] == 0 and run.config["training"]["steps"] is not False
    seen = []
    assert run.evaluate((photos[:16], [0, 1] * 8), protocols=("knn",), report=seen.append) == seen


def test_folders_of_runs_are_named_by_their_data():
    assert (
        folder_of("simclr", (Path("some/photos"),))
        == folder_of("simclr", ("some/photos",))
        == Path("runs/simclr-photos")
    )
    assert folder_of("uda", ("hf:a/b", np.zeros(3))) == Path("runs/uda-b-data")


def test_a_run_on_data_in_memory_holds_them(photos, tmp_path, caplog):
    options = {"epochs": 1, "size": 16, "batch_size": 8, "out": tmp_path / "run"}
    run = withhold.train("rotation", photos[:24], **options)
    with caplog.at_level("INFO"):
        run.evaluate((photos[24:48], np.arange(24) % 2), protocols=("knn",))
    assert "the training data" not in caplog.text
    with pytest.raises(UsageError, match=r"was trained on an ndarray of \d+, which is not in a file\. Give the data"):
        withhold.load(run.folder).streams()


def test_a_run_that_has_ended_goes_on_where_it_is_given_more(photos, tmp_path):
    options = {"size": 16, "batch_size": 8, "out": tmp_path / "run"}
    first = withhold.train("rotation", photos[:24], epochs=1, **options)
    weights, began = (first.folder / "encoder.safetensors").read_bytes(), [row["loss"] for row in first.rows()]
    longer = withhold.train("rotation", photos[:24], epochs=3, resume=True, **options)
    assert [row["step"] for row in longer.rows()] == list(range(1, 10))
    assert [row["loss"] for row in longer.rows()[:3]] == began
    assert longer.config["training"]["epochs"] == 3
    assert longer.config["outcome"]["steps"] == 9
    assert (longer.folder / "encoder.safetensors").read_bytes() != weights
    assert longer.rows()[4]["lr"] > longer.rows()[2]["lr"]  # along the longer course, which has not yet come down
    for wrong in ({"epochs": 2}, {"minutes": 1.0}, {"epochs": 4, "lr": 1.0}):
        with pytest.raises(UsageError, match="was trained with"):
            withhold.train("rotation", photos[:24], resume=True, **options, **wrong)


def test_a_grey_run_sees_colour_images_as_its_training_did(photos, tmp_path):
    grey = np.stack([np.asarray(Image.fromarray(photo).convert("L")) for photo in photos[:8]])
    run = withhold.train("variational_autoencoder", grey, epochs=0, size=32, out=tmp_path / "run", no_report=True)
    seen = run.apply(torch.from_numpy(photos[0]).permute(2, 0, 1))["seen"].pixels
    torch.testing.assert_close(seen[0], torch.from_numpy(grey[0]) / 255)
    floats = run.apply(torch.from_numpy(photos[0]).permute(2, 0, 1) / 255)["seen"].pixels
    assert (floats - seen).abs().mean() < 0.1  # lightness, not black


def test_a_run_resumes_on_the_same_data_in_another_place(photos, tmp_path):
    (folder := tmp_path / "photos").mkdir()
    for k, crop in enumerate(photos[:16]):
        Image.fromarray(crop).save(folder / f"{k}.png")
    options = {"size": 16, "batch_size": 8, "out": tmp_path / "run", "no_report": True}
    withhold.train("rotation", str(folder), epochs=1, **options)
    moved = str(shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile))
    shutil.rmtree(folder)
    longer = withhold.train("rotation", moved, epochs=2, resume=True, **options)
    assert longer.config["outcome"]["steps"] == 4
    assert withhold.load(tmp_path / "run").config["data"] == [moved]
    samples = withhold.load(tmp_path / "run").streams()[0]
    withhold.train("rotation", samples, epochs=2, resume=True, **options)  # finished; in memory, without an address
    assert withhold.load(tmp_path / "run").config["data"] == [moved]
    assert len(withhold.load(tmp_path / "run").streams()[0]) == 16
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "moved" / "3.png")
    with pytest.raises(UsageError, match=r"The data of the stream images have changed since .*run began"):
        withhold.train("rotation", moved, epochs=3, resume=True, **options)


def test_a_run_that_is_resumed_without_a_budget_keeps_its_own(photos, tmp_path):
    options = {"size": 16, "batch_size": 8, "no_report": True}
    for budget in ({"epochs": 1}, {"minutes": 0.01}):
        out = tmp_path / next(iter(budget))
        first = withhold.train("rotation", photos[:24], **options, **budget, out=out)
        again = withhold.train("rotation", photos[:24], **options, out=out, resume=True)
        assert again.config == first.config
    with pytest.raises(UsageError, match=r"was trained with minutes 0\.01, not without minutes"):
        withhold.train("rotation", photos[:24], **options, epochs=9, out=out, resume=True)


def test_a_run_of_no_epochs_goes_on_with_more(photos, tmp_path):
    options = {"size": 16, "batch_size": 8, "out": tmp_path / "run", "no_report": True}
    withhold.train("rotation", photos[:16], epochs=0, **options)
    longer = withhold.train("rotation", photos[:16], epochs=1, resume=True, **options)
    assert longer.config["outcome"]["steps"] == 2


def test_a_run_is_not_resumed_on_other_devices(photos, tmp_path):
    """Its steps would be others: a batch is given for each device."""
    options = {"size": 16, "batch_size": 8, "epochs": 1, "out": tmp_path / "run", "no_report": True}
    run = withhold.train("rotation", photos[:16], **options)
    config = run.folder / "config.json"
    config.write_text(config.read_text().replace('"devices": 1', '"devices": 2'))
    with pytest.raises(UsageError, match=r"was trained with devices 2, not with devices 1"):
        withhold.train("rotation", photos[:16], resume=True, **options)


def test_maps_of_one_position_cannot_be_normalised_over_one_image(tmp_path):
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match=r"normalises features over a batch.* Give a --batch-size of 2 or more"):
        withhold.train("rotation", images, encoder="convnet", size=8, batch_size=1, epochs=1, out=tmp_path / "run")


def test_a_folder_of_another_library_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UsageError, match=r"is not a run\. For a model of Transformers in a folder, give hf:"):
        withhold.load(tmp_path)


def test_minutes_of_a_run_that_has_ended_are_counted_at_its_own_pace(photos, tmp_path):
    options = {"size": 16, "batch_size": 8, "out": tmp_path / "run"}
    first = withhold.train("rotation", photos[:24], minutes=0.01, **options)
    longer = withhold.train("rotation", photos[:24], minutes=0.02, resume=True, **options)
    assert longer.config["outcome"]["steps"] == 2 * first.config["outcome"]["steps"]


def test_few_labels_need_no_ten_minutes(photos, tmp_path):
    labelled = (photos[:24], np.arange(24) % 2)
    run = withhold.train("finetune", labelled, size=8, batch_size=24, out=tmp_path / "run", no_report=True)
    assert run.config["outcome"]["steps"] == 100


def test_without_an_epoch_a_method_only_prepares_itself(photos, tmp_path, capsys):
    labelled = (photos[:24], np.arange(24) % 2)
    words = {"size": 8, "out": tmp_path / "run", "freeze": "all"}
    run = withhold.train("finetune", labelled, epochs=0, **words)
    assert run.finished and run.config["outcome"]["steps"] == 0 and not run.rows() and not run.doctor()
    assert run.method.head.weight.any() and run.classify(photos[:24]).num_rows == 24
    assert "1 step" not in (run.folder / "report.html").read_text()
    again = withhold.train("finetune", labelled, epochs=0, resume=True, **words)
    assert again.config == run.config


def test_how_labels_are_split_is_said_and_a_file_of_weights_that_labels_made_warns(photos, tmp_path, caplog):
    caplog.set_level("INFO", "withhold")
    labelled = (photos[:40], np.arange(40) % 2)
    run = withhold.train("finetune", labelled, size=8, epochs=0, out=tmp_path / "run", no_report=True)
    with pytest.raises(UsageError, match="training was given the labels of all test items"):
        run.evaluate(labelled, protocols=("knn",))
    assert "is split: 32 for training, 8 for testing; intervals are wide with so few" in caplog.text
    with pytest.raises(UsageError, match="training was given the labels of all test items"):
        withhold.load(run.weights).evaluate(labelled, protocols=("knn",))  # the run lies beside it
    moved = shutil.copy(run.weights, tmp_path)
    withhold.load(moved).evaluate(labelled, protocols=("knn",))
    assert "was trained on labels by finetune, and the file does not list the labelled items: accuracy" in caplog.text
