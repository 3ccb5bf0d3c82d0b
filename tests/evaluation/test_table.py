import copy

import numpy as np
import pytest
import torch

from withhold import evaluation, nets
from withhold.errors import UsageError
from withhold.evaluation import table
from withhold.evaluation.features import plain_batches


def test_rows_and_controls(encoder, digits):
    untrained = copy.deepcopy(encoder)
    state = {name: value.clone() for name, value in untrained.state_dict().items()}
    rows = evaluation.evaluate(encoder, *digits, ("knn", "lowshot"), untrained=untrained)
    assert [(row["encoder"], row["protocol"], row.get("shots")) for row in rows] == [
        (name, *part)
        for name in ("trained", "untrained", "pixels")
        for part in (("knn", None), ("lowshot", 1), ("lowshot", 5), ("lowshot", 10))
    ]
    assert {row["metric"] for row in rows} == {"accuracy"}
    assert {row["n_test"] for row in rows} == {len(digits[1])}
    assert rows[0]["n_train"] == len(digits[0])
    assert all(torch.equal(state[name], value) for name, value in untrained.state_dict().items())


def test_the_untrained_encoder_is_measured_with_refreshed_statistics(encoder, digits):
    """Its row is that of an encoder whose statistics were set by hand on training images."""
    refreshed = copy.deepcopy(encoder)
    nets.refresh_statistics(refreshed, plain_batches([digits[0]], "cpu"))
    rows = evaluation.evaluate(refreshed, *digits, ("knn",), untrained=encoder, pixels=False)
    assert [row["encoder"] for row in rows] == ["trained", "untrained"]
    assert rows[0]["value"] == rows[1]["value"]
    assert evaluation.evaluate(encoder, *digits, ("knn",), pixels=False)[0]["value"] != rows[0]["value"]


def test_the_supervised_network_is_best(encoder, digits):
    rows = evaluation.evaluate(
        encoder, *digits, ("linear",), untrained=encoder, supervised=True, pixels=False, budget=128 * 80
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
    monkeypatch.setattr(table.registry, "find", lambda name: lambda task: budgets.append(task.budget) or [])
    for count in (10, 500, 2000):
        samples = make_samples([0, 1] * count)
        evaluation.evaluate(encoder, samples, samples, pixels=False, protocols=("knn",))
    assert budgets == [20_000, 30_000, 100_000]


def sentence(*arguments, **options) -> str:
    with pytest.raises(UsageError) as error:
        evaluation.evaluate(*arguments, **options)
    return str(error.value)


def test_labels_missing(encoder, make_samples):
    whole, bare = make_samples([0, 1, 2]), make_samples([0, 1, 2], source="photos")
    expected = (
        "photos has no labels, and the evaluation needs them: "
        "sort it into one folder a class, add a label column, or give --labels FILE."
    )
    bare.labels = None
    assert sentence(encoder, bare, whole) == expected
    assert sentence(encoder, whole, make_samples([-1, -1], source="photos")) == expected


def test_one_class_only(encoder, make_samples):
    assert sentence(encoder, make_samples([1] * 5 + [-1]), make_samples([1])) == (
        "All 5 items of zoo with a label are of class 'bee': a classifier needs two classes or more."
    )


def test_a_class_that_only_the_test_has(encoder, make_samples):
    assert sentence(encoder, make_samples([0, 1] * 5), make_samples([0, 2], source="test")) == (
        "test asks for class 'cat', of which zoo has no item to train on: give both the same classes."
    )


def test_nothing_to_test_on(encoder, make_samples):
    assert sentence(encoder, make_samples([0, 1]), make_samples([], source="test")) == (
        "There is nothing to test on in test: give it at least one item a class."
    )


def test_an_unknown_protocol(encoder, make_samples):
    samples = make_samples([0, 1])
    assert sentence(encoder, samples, samples, ("knn", "linaer")).startswith(
        "There is no protocol 'linaer': did you mean linear"
    )


def test_a_supervised_network_needs_fresh_weights(encoder, make_samples):
    samples = make_samples([0, 1])
    assert sentence(encoder, samples, samples, supervised=True) == (
        "A supervised network starts from fresh weights: give the untrained encoder as well."
    )


def test_rows_on_another_number_of_items_are_a_table_of_their_own():
    def row(data, n_test):
        return {"data": data, "n_test": n_test}

    rows = [row("photos", 12), row("photos", 1018), row("cifar", 12), row("photos", 12), {"data": "x", "sequence": "y"}]
    assert evaluation.by_data(rows) == {
        "photos (12 items)": [rows[0], rows[3]], "photos (1,018 items)": [rows[1]], "cifar": [rows[2]],
    }  # fmt: skip
