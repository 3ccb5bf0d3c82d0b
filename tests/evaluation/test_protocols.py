from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from withhold.errors import UsageError
from withhold.evaluation import protocols
from withhold.evaluation.protocols import finetune, knn, linear, lowshot
from withhold.nets import logistic
from withhold.nets.logistic import fit, moments


def test_names_are_the_files():
    files = sorted(path.stem for path in Path(protocols.__file__).parent.glob("[a-z]*.py"))
    assert protocols.names() == [name for name in files if name in protocols.names()] and len(files) > 15
    assert protocols.find("knn").measure is knn.measure


def test_an_unknown_protocol_is_told_the_nearest():
    with pytest.raises(UsageError) as error:
        protocols.find("lineal")
    assert str(error.value) == "There is no protocol 'lineal': did you mean linear?"


def test_linear_on_digits_is_scikit_learns(digits, make_task):
    """The same standardised pixels, the strength that was chosen: the same accuracy."""
    from sklearn.linear_model import LogisticRegression

    task = make_task(*digits)
    (row,) = linear.measure(task)
    mean, deviation = moments(task.bank)
    C = 1 / (len(task.bank) * row["strength"])
    theirs = LogisticRegression(C=C, max_iter=2000, tol=1e-6).fit((task.bank - mean) / deviation, task.labels)
    assert row["value"] > 0.94
    difference = row["value"] - theirs.score((task.queries - mean) / deviation, task.answers)
    assert abs(difference) < 3.5 / len(task.queries)  # both stop a little short of a flat minimum, each in its own way


def test_the_strength_chosen_has_the_least_held_out_loss():
    """Few noisy items in many dimensions: a strong penalty is best, and weaker ones are worse."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 2
    x = torch.randn(300, 100, generator=rng)
    x[:, 0] += labels
    losses = {s: F.cross_entropy(fit(x[:150], labels[:150], 2, s)(x[150:]), labels[150:]) for s in logistic.STRENGTHS}
    _, chosen = logistic.choose(x[:150], labels[:150], x[150:], labels[150:], 2)
    assert chosen == min(losses, key=losses.get)
    assert chosen > min(logistic.STRENGTHS)


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_holdout_parts_every_class(fraction):
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [4] * 5)[torch.randperm(67)]
    kept, held = logistic.holdout(labels, fraction, torch.Generator().manual_seed(0))
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(67))
    for label, count in ((0, 50), (1, 10), (2, 2), (4, 5)):
        assert (labels[held] == label).sum() == max(1, round(fraction * count))
        assert (labels[kept] == label).any()


def test_draws_have_the_shots_of_each_class_and_are_random():
    rng = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 50 + [2] * 10 + [3] * 5)[torch.randperm(65, generator=rng)]
    seen = set()
    for _ in range(200):
        drawn = lowshot.draw(labels, 3, rng)
        assert labels[drawn].tolist() == [0] * 3 + [2] * 3 + [3] * 3
        assert len(drawn.unique()) == 9
        seen.update(drawn.tolist())
    assert seen == set(range(65))


def test_lowshot_on_digits(digits, make_task):
    rows = lowshot.measure(make_task(*digits))
    assert [row["shots"] for row in rows] == [1, 5, 10]
    assert [row["n_train"] for row in rows] == [10, 50, 100]
    values = [row["value"] for row in rows]
    assert 0.35 < values[0] < values[1] < values[2] < 0.95
    assert all(0 < row["deviation"] < 0.15 for row in rows)
    assert lowshot.measure(make_task(*digits)) == rows


def test_lowshot_is_scikit_learns_on_standardised_features_of_unit_length(digits, make_task):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import Normalizer, StandardScaler

    task = make_task(*digits)
    scaler = StandardScaler().fit(task.bank.numpy())
    bank, queries = (Normalizer().transform(scaler.transform(part.numpy())) for part in (task.bank, task.queries))
    rng = torch.Generator().manual_seed(task.seed)
    drawn = [lowshot.draw(task.labels, 1, rng) for _ in range(lowshot.DRAWS)]
    theirs = [
        LogisticRegression(C=1 / (10 * lowshot.STRENGTH), max_iter=2000, tol=1e-6)
        .fit(bank[rows], task.labels[rows])
        .score(queries, task.answers)
        for rows in drawn
    ]
    assert lowshot.measure(task)[0]["value"] == pytest.approx(sum(theirs) / len(theirs), abs=0.01)


def test_lowshot_leaves_out_shots_that_the_smallest_class_cannot_give(make_samples, make_task):
    samples = make_samples([0] * 12 + [1] * 6 + [2] * 30)
    assert [row["shots"] for row in lowshot.measure(make_task(samples, samples))] == [1, 5]


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [(linear, "a linear probe needs two, one of them to choose its strength"),
     (lowshot, "random draws need at least two")],
)  # fmt: skip
def test_a_class_with_one_item_is_left_out_and_named(protocol, reason, make_samples, make_task, caplog):
    samples = make_samples([0] * 5 + [1] + [2] * 5)
    pairs = samples.select([*range(5), *range(6, 11)])
    rows = protocol.measure(make_task(samples, samples))
    assert caplog.messages == [f"classes are left out: zoo has only one training item of 'bee', and {reason}"]
    assert [row["value"] for row in rows] == [row["value"] for row in protocol.measure(make_task(pairs, pairs))]
    assert {row["n_test"] for row in rows} == {10}
    assert rows[0]["n_train"] == (10 if protocol is linear else 2)


def test_single_items_are_nothing_to_measure_with(make_samples, make_task):
    samples = make_samples([0] * 5 + [1] + [2])
    with pytest.raises(UsageError) as error:
        linear.measure(make_task(samples, samples))
    assert str(error.value) == (
        "There is nothing to evaluate: zoo has only one training item of 'bee', 'cat', and a linear probe needs two, "
        "one of them to choose its strength. Label more items of each class."
    )


@pytest.mark.parametrize("protocol", [knn, linear, lowshot])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_collapsed_features_give_chance(protocol, value, make_samples, make_task):
    samples = make_samples([0, 1, 2] * 20)
    task = make_task(samples, samples)
    task.__dict__.update({"bank": torch.full((60, 16), value), "queries": torch.full((60, 16), value)})
    for row in protocol.measure(task):
        assert row["value"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("protocol", [knn, linear, lowshot])
def test_a_single_feature_is_enough(protocol, make_samples, make_task):
    samples = make_samples([0, 1] * 20)
    task = make_task(samples, samples)
    feature = torch.arange(40.0)[:, None] % 2 * 2 - 1
    task.__dict__.update({"bank": feature, "queries": feature})
    assert [row["value"] for row in protocol.measure(task)][-1] == 1


def test_a_class_that_nothing_is_trained_on_is_never_said(make_samples, make_task):
    samples = make_samples([0, 2] * 20)  # of ant, bee and cat, no bee
    task = make_task(samples, samples)
    for protocol in (knn, linear, lowshot):
        assert all(0.3 < row["value"] <= 1 for row in protocol.measure(task))


def test_finetuning_learns_and_leaves_the_encoder_alone(encoder, digits, make_task):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    (row,) = finetune.measure(make_task(*digits, encoder, budget=128 * 60))
    assert row["value"] > 0.3  # chance is 0.1
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_fresh_weights_are_trained_from_scratch(encoder, digits, make_task, monkeypatch):
    told = []

    def train(*args, learned, **rest):
        told.append(learned)
        return real(*args, learned=learned, **rest)

    real = finetune.train
    monkeypatch.setattr(finetune, "train", train)
    for row in ("trained", "start", "untrained"):
        finetune.measure(replace(make_task(*digits, encoder, budget=64), row=row))
    assert told == [True, True, False]


def test_pixels_cannot_be_finetuned(digits, make_task):
    assert finetune.measure(make_task(*digits)) == []
