"""A classifier: classes from its labels, training from one or two folders, evaluation by its own predictions."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import withhold
from withhold.cli import main
from withhold.errors import UsageError
from withhold.methods import build, find, parameters

TOY = '''
from torch.nn import functional as F

from withhold import views
from withhold.methods import Classifier, accuracy, method


@method(paper="Nobody, 2026", needs={"labelled": "image + label", "unlabelled": "image"}, family="consistency")
class Toy(Classifier):
    """Withholds the label; predicts it.

    Args:
        scale: of the loss.
    """

    def __init__(self, encoder, classes, scale: float = 1.0):
        super().__init__(encoder, classes)
        self.scale = scale

    def withhold(self, labelled, unlabelled):
        assert unlabelled.dtype.is_floating_point is False
        images, labels = labelled
        return views.augment(images, self.rng, crop=(0.6, 1.0), flip=0.0), labels

    def predict(self, images):
        return self.classify(images)

    def loss(self, scores, labels):
        return {"loss": self.scale * F.cross_entropy(scores, labels), "accuracy": accuracy(scores, labels)}
'''
NAMES = ["naught", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """500 digits as files without labels, the labels of 100 of them in few.csv and of all in all.csv, and toy.py."""
    found = load_digits()
    (tmp_path / "pictures").mkdir()
    for i in range(500):
        Image.fromarray((found.images[i] * 15).astype(np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
    for name, count in (("few", 100), ("all", 500)):
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([("path", "label"), *((f"{i}.png", NAMES[found.target[i]]) for i in range(count))])
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_folder_and_a_few_labels_make_a_classifier(folder, capsys):
    options = ["--labels", "few.csv", "--epochs", "8", "--size", "16", "--out", "run"]
    assert main(["train", "./toy.py", "pictures", *options]) == 0
    run = withhold.load("run")
    assert run.config["classes"] == sorted(NAMES)
    page = (run.folder / "report.html").read_text()
    assert f"withhold train ./toy.py {folder / 'pictures'} scale=1.0 --encoder convnet" in page
    assert f"--labels {folder / 'few.csv'}" in page
    assert "<h2>Samples</h2>" in page
    assert main(["report", "run"]) == 0
    assert "<h2>Samples</h2>" in (run.folder / "report.html").read_text()
    with pytest.raises(UsageError, match=r"was trained with labels .*few\.csv, not .*all\.csv"):
        withhold.train("./toy.py", "pictures", labels="all.csv", epochs=8, size=16, out="run", resume=True)
    labels = (folder / "few.csv").read_text()
    (folder / "few.csv").write_text(labels.replace("naught", "zero"))  # the file of before, with other names in it
    with pytest.raises(UsageError, match=r"was trained with classes .*'naught'.*, not .*'zero'"):
        withhold.train("./toy.py", "pictures", labels="few.csv", epochs=8, size=16, out="run", resume=True)
    (folder / "few.csv").write_text(labels)
    assert run.method.classes == tuple(sorted(NAMES))
    inside = run.method.encoder.state_dict()
    assert all(torch.equal(value, inside[key]) for key, value in run.encoder.state_dict().items())
    assert main(["evaluate", "run", "pictures", "--labels", "all.csv", "--json"]) == 0
    results = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    measured = {(row["encoder"], row["protocol"]): row["value"] for row in results}
    assert measured["trained", "classifier"] > 0.3  # of ten classes
    assert 0.3 < measured["untrained", "classifier"] < measured["untrained", "linear"]  # of 100 labels, not of 400
    assert ("untrained", "knn") in measured


def test_items_whose_labels_it_was_told_are_no_test(folder):
    run = withhold.train("./toy.py", "pictures", labels="few.csv", epochs=0.1, size=16, out="run")
    measured, *_ = run.evaluate("pictures", labels="all.csv", test_fraction=0.5)
    tested = run.load_data("pictures", labels="all.csv").split(0.5, run.seed)[1].names
    with open(folder / "few.csv", newline="") as file:
        told = {row["path"] for row in csv.DictReader(file)}
    assert 0 < measured["n_test"] == len(set(tested) - told) < 250
    with open(folder / "all.csv", newline="") as file:  # the same files by another address, with labels of their own
        rows = "".join(f"pictures/{row['path']},{row['label']}\n" for row in csv.DictReader(file))
    (folder / "tested.csv").write_text("path,label\n" + rows)
    assert main(["evaluate", "run", "pictures", "tested.csv", "--labels", "few.csv", "--protocol", "classifier"]) == 0
    again = [row for row in run.results() if row["data"] == "tested.csv"]
    assert [row["n_test"] for row in again] == [500 - len(told)] * 2
    with pytest.raises(UsageError, match=r"given the labels of all test items of \./pictures/"):
        run.evaluate("./pictures/", labels="few.csv", protocols=("classifier",))


def test_where_nothing_is_learned_all_are_measured_on_beside_a_probe_with_the_same_labels(folder):
    run = withhold.train("./toy.py", "pictures", labels="few.csv", epochs=0.1, size=16, out="run")
    own, control = run.evaluate("pictures", labels="all.csv", protocols=("classifier",))
    assert (own["encoder"], own["n_train"], own["n_test"], own["n_unlabelled"]) == ("trained", 100, 400, 0)
    assert (control["encoder"], control["n_train"], control["n_test"]) == ("untrained", 100, 400)
    streams = run.streams()
    told, every = streams[0].labelled("the test"), run.load_data("pictures", labels="all.csv")
    asked = every.select([row for row, name in enumerate(every.names) if name not in set(told.names)])
    network = run.untrained().eval()
    withhold.nets.refresh_statistics(network, withhold.evaluation.plain_batches(streams, "cpu"))
    x, queries = (withhold.nets.features(network, part).numpy() for part in (told, asked))
    mean, deviation = x.mean(0), x.std(0) + 1e-12
    values = []
    for strength in (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        solver = LogisticRegression(C=1 / (100 * strength), max_iter=1000)
        solver.fit((x - mean) / deviation, told.labels)
        values.append(solver.score((queries - mean) / deviation, asked.labels))
    assert min(values) - 0.005 <= control["value"] <= max(values) + 0.005
    check_other_classes(run, folder)
    (folder / "few.csv").rename(folder / "gone.csv")  # nobody knows what it was told
    (alone,) = withhold.load("run").evaluate("pictures", labels="all.csv", protocols=("classifier",))
    assert (alone["encoder"], alone["value"]) == ("trained", own["value"])


def check_other_classes(run, folder):
    told = set((folder / "few.csv").read_text().splitlines())
    path = next(line for line in (folder / "all.csv").read_text().splitlines() if line not in told).split(",")[0]
    (folder / "green.csv").write_text(f"path,label\n{path},green\n")
    rows = run.evaluate("pictures", labels="green.csv", protocols=("classifier",))
    assert "trained" not in {row["encoder"] for row in rows}


def test_a_run_that_learned_from_a_file_of_labels_asks_for_another_one(folder):
    run = withhold.train("./toy.py", "pictures", labels="few.csv", epochs=0.1, size=16, out="run", no_report=True)
    asked = r"pictures has no labels \(the training used .*few\.csv; give labels of held-out .*give --labels FILE"
    with pytest.raises(UsageError, match=asked):
        run.evaluate("pictures")


def test_applied_to_a_folder_it_names_the_classes(folder, capsys):
    run = withhold.train("./toy.py", "pictures", labels="few.csv", epochs=8, size=16, out="run")
    (folder / "pictures" / "broken.png").write_text("no")
    assert main(["apply", "run", "pictures", "--out", "said"]) == 0
    with open(folder / "said" / "classes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == sorted(f"{i}.png" for i in range(500))
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)
    truth = {f"{i}.png": NAMES[digit] for i, digit in enumerate(load_digits().target[:500])}
    right = sum(row["class"] == truth[row["path"]] for row in rows) / 500
    with open(folder / "few.csv", newline="") as file:
        known = {row["path"] for row in csv.DictReader(file)}
    assert {row["path"] for row in rows if row["told"] == "yes"} == known
    shares = np.array([[float(row[f"probability of {name}"]) for name in sorted(NAMES)] for row in rows])
    assert shares.sum(1) == pytest.approx(1, abs=1e-4)
    assert [sorted(NAMES)[k] for k in shares.argmax(1)] == [row["class"] for row in rows]
    assert (
        "was trained on 100 labels. With so few labels, its probabilities are not calibrated" in capsys.readouterr().out
    )
    assert main(["apply", "run", "pictures/7.png"]) == 0
    (said,) = [row for row in rows if row["path"] == "7.png"]
    assert re.search(rf"7\.png +{said['class']} +{float(said['probability']):.3f}", capsys.readouterr().out)
    assert main(["apply", "run", "pictures"]) == 2
    assert "The output is written to files. Give a folder for them" in capsys.readouterr().err
    assert main(["apply", "run", "a dog"]) == 2
    assert "There is no file or folder 'a dog'" in capsys.readouterr().err
    measured, _ = run.evaluate("pictures", labels="all.csv", protocols=("classifier",))
    assert right > 0.3
    assert measured["value"] == pytest.approx(right, abs=0.05)


def test_labels_of_the_first_folder_say_nothing_of_the_second(folder, caplog):
    caplog.set_level("INFO", "withhold")
    run = withhold.train(
        "./toy.py", "pictures", "pictures", labels="few.csv", epochs=0.3, size=16, out="run", scale=0.5
    )
    assert run.config["parameters"] == {"scale": 0.5}
    assert len(run.config["classes"]) == 10
    assert "labelled: 500 items from pictures, 100 of them with a label" in caplog.messages
    run.evaluate("pictures", labels="all.csv", protocols=("classifier",))
    first, second = [line for line in caplog.messages if line.startswith("evaluating:")]
    assert first == "evaluating: trained, classifier"
    assert second.startswith("evaluating: untrained, classifier; about ")
    caplog.clear()
    (row,) = run.evaluate("pictures", protocols=("information",))
    assert (row["encoder"], row["n_train"], row["n_test"]) == ("trained", 0, 500)
    assert [line for line in caplog.messages if line.startswith("evaluating:")] == ["evaluating: trained, information"]


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


def test_a_run_says_whether_it_goes_on_or_starts(folder, caplog, monkeypatch):
    options = {"labels": "few.csv", "epochs": 0.1, "size": 16, "out": "run"}
    caplog.set_level("INFO", "withhold")
    with pytest.raises(UsageError, match=r"There is no run to resume in run\. Remove --resume to start one\."):
        withhold.train("./toy.py", "pictures", **options, resume=True)
    assert not (folder / "run").exists()
    with monkeypatch.context() as patch:
        patch.setattr("withhold.training.fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            withhold.train("./toy.py", "pictures", **options)
    options["resume"] = True
    withhold.train("./toy.py", "pictures", **options)
    assert "run has no checkpoint yet: it starts from the beginning" in caplog.messages
    withhold.train("./toy.py", "pictures", **options)
    assert "run is finished" in caplog.messages
    assert caplog.messages.count("writing the report") == 1
    (folder / "run" / "encoder.safetensors").unlink()
    withhold.train("./toy.py", "pictures", **options)
    assert "run resumes from its last checkpoint" in caplog.messages


def test_labels_that_are_missing_are_asked_for(folder):
    with pytest.raises(UsageError, match=r"the stream labelled needs them\. Sort it into one folder per class"):
        withhold.train("./toy.py", "pictures", "pictures", out="run")
    with pytest.raises(
        UsageError, match=r"1 source given\. Give one source with --labels FILE, or one source for each"
    ):
        withhold.train("./toy.py", "pictures", out="run")


def test_the_classes_are_no_parameter(folder):
    cls = find("./toy.py")
    assert list(parameters(cls)) == ["scale"]
    encoder = withhold.nets.build("convnet", size=16, channels=1)
    with pytest.raises(UsageError, match=r"needs labels of two or more classes, but there is only one"):
        build(cls, encoder, {}, {"classes": ["one"]})
    assert build(cls, encoder, {}, {"classes": NAMES}).head.out_features == 10


def test_what_names_no_classes_is_not_asked_to(folder):
    run = withhold.train("rotation", "pictures", epochs=0.1, size=16, out="run")
    with pytest.raises(UsageError, match=r"rotation has not learned any class names\. Use evaluate or embed"):
        run.classify("pictures")
    with pytest.raises(UsageError, match=r"rotation has not learned any class names\. Remove the protocol classifier"):
        run.evaluate("pictures", labels="all.csv", protocols=("classifier",))


def test_streams_of_different_kinds_meet_at_the_largest_size_and_in_colour(folder):
    (folder / "paint").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)).save(folder / "paint" / f"{i}.png")
    run = withhold.train("./toy.py", "digits", "paint", epochs=0.1, out="run")
    assert (run.config["encoder"]["size"], run.config["decoding"]["channels"]) == (40, 3)
    assert run.config["classes"] == [str(digit) for digit in range(10)]
