import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from withhold import evaluation, nets
from withhold.errors import UsageError
from withhold.evaluation import table
from withhold.evaluation.features import plain_batches
from withhold.evaluation.protocols import classifier
from withhold.methods import build, find


def test_rows_and_controls(encoder, digits):
    untrained = copy.deepcopy(encoder)
    state = {name: value.clone() for name, value in untrained.state_dict().items()}
    rows = evaluation.evaluate(encoder, *digits, ("knn", "lowshot"), controls={"untrained": untrained})
    assert [(row["encoder"], row["protocol"], row.get("shots")) for row in rows] == [
        (name, *part)
        for name in ("trained", "untrained", "pixels")
        for part in (("knn", None), ("lowshot", 1), ("lowshot", 5), ("lowshot", 10))
    ]
    assert {row["metric"] for row in rows} == {"accuracy"}
    assert {row["n_test"] for row in rows} == {len(digits[1])}
    assert rows[0]["n_train"] == len(digits[0])
    assert all(torch.equal(state[name], value) for name, value in untrained.state_dict().items())


def test_the_same_fresh_weights_are_worth_the_same_trained_or_untrained(encoder, digits, make_samples):
    """Both have statistics of what was learned from, or if that is gone, both of the evaluation's training items."""
    learned = make_samples([0] * 64)
    trained = copy.deepcopy(encoder)
    nets.refresh_statistics(trained, plain_batches([learned], "cpu"))
    values = []
    for known in ([learned], None):
        rows = evaluation.evaluate(
            trained, *digits, ("knn",), controls={"untrained": encoder}, learned=known, pixels=False
        )
        assert [row["encoder"] for row in rows] == ["trained", "untrained"]
        assert rows[0]["value"] == rows[1]["value"]
        values.append(rows[0]["value"])
    assert values[0] != values[1]


def test_a_start_keeps_its_own_statistics(encoder, digits, make_samples):
    """As whoever takes it in place of the trained one has it; so does an encoder that is measured as it is."""
    start = copy.deepcopy(encoder)
    nets.refresh_statistics(start, plain_batches([make_samples([0] * 64)], "cpu"))
    (own,) = evaluation.evaluate(start, *digits, ("knn",), learned=[], pixels=False)
    controls = {"untrained": start, "start": start}
    rows = evaluation.evaluate(
        encoder, *digits, ("knn",), controls=controls, learned=[digits[0]], pixels=False, row="mine"
    )
    values = {row["encoder"]: row["value"] for row in rows}
    assert list(values) == ["mine", "untrained", "start"]
    assert values["start"] == own["value"] != values["untrained"]


def test_a_share_of_few_items_has_wilsons_interval(encoder, make_samples):
    """Its ends are the shares from which the one that was found is 1.96 of their own deviations away."""
    rng = np.random.default_rng(0)
    train, few, many = (make_samples(rng.integers(0, 3, count)) for count in (30, 27, 200))
    (row,) = evaluation.evaluate(encoder, train, few, ("knn",), pixels=False)
    assert row["low"] < row["value"] < row["high"]
    for end in (row["low"], row["high"]):
        assert abs(end - row["value"]) == pytest.approx(1.96 * (end * (1 - end) / 27) ** 0.5)
    assert "low" not in evaluation.evaluate(encoder, train, many, ("knn",), pixels=False)[0]


def test_a_protocol_may_be_a_file_and_know_no_classes(encoder, make_samples, tmp_path):
    """Verification: whether two items are of one class, also of classes that nobody has seen."""
    (tmp_path / "verify.py").write_text(
        "from torch.nn import functional as F\n"
        "def measure(task):\n"
        "    x = F.normalize(task.queries, dim=1)\n"
        "    same = task.truth[:, None] == task.truth\n"
        "    return [{'metric': 'gap', 'value': ((x @ x.T)[same].mean() - (x @ x.T)[~same].mean()).item()}]\n"
    )
    train, test = make_samples([0, -1, 1] * 4), make_samples([2, 1, 2], classes=("a", "b", "unseen"))
    rows = evaluation.evaluate(encoder, train, test, (str(tmp_path / "verify.py"),))
    assert [(row["encoder"], row["protocol"], row["n_unlabelled"]) for row in rows] == [
        ("trained", "verify", 4), ("pixels", "verify", 4)
    ]  # fmt: skip
    (tmp_path / "none.py").write_text("")
    assert sentence(encoder, train, test, (str(tmp_path / "none.py"),)).endswith(
        "none.py is not a protocol: it does not define measure(task)."
    )


def test_a_protocol_may_take_what_has_no_label(encoder, make_samples, tmp_path):
    (tmp_path / "spread.py").write_text(
        "TAKES = 'items'\n"
        "def measure(task):\n"
        "    return [{'metric': 'deviation', 'value': task.queries.std().item()}]\n"
    )
    bare = make_samples([-1] * 5)
    bare.labels = None
    (row,) = evaluation.evaluate(encoder, bare, bare, (str(tmp_path / "spread.py"),), pixels=False)
    assert (row["n_test"], row["n_unlabelled"]) == (5, 0)
    assert row["value"] > 0


def test_a_protocol_may_take_what_belongs_to_items(encoder, make_samples, tmp_path):
    (tmp_path / "boxes.py").write_text(
        "TAKES = 'image + boxes'\n"
        "def measure(task):\n"
        "    return [{'metric': 'width', 'value': task.test.parts['boxes'][:, 0, 2].mean().item()}]\n"
    )
    samples, bare = make_samples([0, 1]), make_samples([0, 1], source="bare")
    samples.parts["boxes"] = np.array([[[0, 0, 4, 8]], [[0, 0, 6, 8]]], dtype=np.float32)
    (row,) = evaluation.evaluate(encoder, samples, samples, (str(tmp_path / "boxes.py"),), pixels=False)
    assert row["value"] == 5
    assert sentence(encoder, samples, bare, (str(tmp_path / "boxes.py"),)).startswith("bare has no boxes")


def test_the_supervised_network_is_best(encoder, digits):
    rows = evaluation.evaluate(
        encoder, *digits, ("linear",), controls={"untrained": encoder}, supervised=True, pixels=False, budget=128 * 80
    )
    values = {row["encoder"]: row["value"] for row in rows}
    assert values["supervised"] > values["untrained"] + 0.02


def test_items_without_a_label_are_left_out_and_counted(encoder, make_samples):
    rng = np.random.default_rng(0)
    train, test = (make_samples(rng.permutation([-1] * 4 + [0, 1, 2] * 7)) for _ in range(2))
    (row,) = evaluation.evaluate(encoder, train, test, ("knn",), pixels=False)
    assert (row["n_train"], row["n_test"], row["n_unlabelled"]) == (21, 21, 8)
    known = np.flatnonzero(train.labels >= 0)
    (same,) = evaluation.evaluate(encoder, train.select(known), test, ("knn",), pixels=False)
    assert same["value"] == row["value"]


def test_classes_are_matched_by_name(encoder, make_samples):
    train = make_samples([0, 1, 2] * 6, classes=("ant", "bee", "cat"))
    test = make_samples([2, 0, 1] * 6, classes=("bee", "cat", "ant"))  # the same images, numbered in another way
    (row,) = evaluation.evaluate(encoder, train, test, ("linear",), pixels=False)
    (same,) = evaluation.evaluate(encoder, train, train, ("linear",), pixels=False)
    assert row["value"] == same["value"] > 0.5


def test_the_default_budget_follows_the_data(encoder, make_samples, monkeypatch):
    budgets = []
    protocol = replace(evaluation.find("knn"), measure=lambda task: budgets.append(task.budget) or [])
    monkeypatch.setattr(table.registry, "find", lambda name: protocol)
    for count in (10, 500, 2000):
        samples = make_samples([0, 1] * count)
        evaluation.evaluate(encoder, samples, samples, pixels=False, protocols=("knn",))
    assert budgets == [2_000, 30_000, 100_000]  # 20 items a hundred times, 1,000 thirty times, 4,000 no more


def sentence(*arguments, **options) -> str:
    with pytest.raises(UsageError) as error:
        evaluation.evaluate(*arguments, **options)
    return str(error.value)


@pytest.mark.parametrize("row", ["trained", "pretrained", "untrained"])
def test_classes_that_are_left_out_are_said_once_whatever_the_encoder_is_called(row, encoder, make_samples, caplog):
    samples = make_samples([0] * 5 + [1] + [2] * 5)
    evaluation.evaluate(encoder, samples, samples, ("linear",), row=row)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "classes are left out: zoo has only one training item of 'bee', and a linear probe needs two, one of them to "
        "choose its strength"
    ]


def test_labels_missing(encoder, make_samples):
    whole, bare = make_samples([0, 1, 2]), make_samples([0, 1, 2], source="photos")
    expected = (
        "photos has no labels, but the evaluation needs them. "
        "Sort it into one folder per class, add a label column, or give --labels FILE."
    )
    bare.labels = None
    assert sentence(encoder, bare, whole) == expected
    assert sentence(encoder, whole, make_samples([-1, -1], source="photos")) == expected


def test_one_class_only(encoder, make_samples):
    assert sentence(encoder, make_samples([1] * 5 + [-1]), make_samples([1])) == (
        "All 5 items of zoo with a label are of class 'bee'. A classifier needs at least two classes."
    )


def test_a_class_that_only_the_test_has(encoder, make_samples):
    assert sentence(encoder, make_samples([0, 1] * 5), make_samples([0, 2], source="test")) == (
        "The test data test have the class 'cat', but the training data zoo have no item of it. "
        "Give both the same classes."
    )


def test_nothing_to_test_on(encoder, make_samples):
    assert sentence(encoder, make_samples([0, 1]), make_samples([], source="test")) == (
        "There is nothing to test on in test. Give it at least one item for each class."
    )


def test_an_unknown_protocol(encoder, make_samples):
    samples = make_samples([0, 1])
    assert sentence(encoder, samples, samples, ("knn", "linaer")).startswith(
        "There is no protocol 'linaer': did you mean linear"
    )


def test_a_supervised_network_needs_fresh_weights(encoder, make_samples):
    samples = make_samples([0, 1])
    assert sentence(encoder, samples, samples, supervised=True) == (
        "A supervised network starts from random weights. Give the randomly initialised encoder too."
    )


def test_rows_on_another_number_of_items_are_a_table_of_their_own():
    def row(data, n_test):
        return {"data": data, "n_test": n_test}

    rows = [row("photos", 12), row("photos", 1018), row("cifar", 12), row("photos", 12), {"data": "x", "sequence": "y"}]
    assert evaluation.by_data(rows) == {
        "photos (12 items)": [rows[0], rows[3]], "photos (1,018 items)": [rows[1]], "cifar": [rows[2]],
    }  # fmt: skip


def test_classes_that_are_numbers_are_matched_however_they_are_written(make_samples, make_task, encoder, monkeypatch):
    """A column of whole numbers that has gaps comes out of a table as one of floats."""
    train = make_samples([0, 1, 2] * 6, classes=("1.0", "2.0", "odd"))
    test = make_samples([1, 0] * 6, classes=("1", "2"))
    task = make_task(train, test)
    task.require_known()
    assert task.answers.tolist() == [1, 0] * 6
    monkeypatch.setattr(classifier, "scores", lambda *_, **__: torch.eye(2)[[0, 1] * 6])
    method = build(find("finetune"), encoder, {}, {"classes": ("2.0", "1.0")})
    (row,) = classifier.measure(replace(task, method=method))
    assert row["value"] == 1


def test_an_interruption_says_what_is_missing_and_every_row_was_told(encoder, digits, tmp_path, caplog):
    (tmp_path / "patience.py").write_text(
        "def measure(task):\n"
        "    if task.row == 'untrained':\n"
        "        raise KeyboardInterrupt\n"
        "    return [{'metric': 'patience', 'value': 1.0}]\n"
    )
    rows = []
    with caplog.at_level("INFO"), pytest.raises(KeyboardInterrupt):
        evaluation.evaluate(
            encoder, *digits, ("knn", str(tmp_path / "patience.py")), controls={"untrained": encoder},
            report=rows.append,
        )  # fmt: skip
    told = [(row["encoder"], row["protocol"]) for row in rows]
    assert told == [("trained", "knn"), ("trained", "patience"), ("untrained", "knn")]
    assert re.fullmatch(r"evaluating: untrained, knn, patience; about \d+ s left", caplog.messages[1])
    assert caplog.messages[-1] == "not evaluated: untrained by patience, pixels by knn, pixels by patience"
