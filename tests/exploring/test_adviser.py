"""Predictions and suggestions for all items follow the labels."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from withhold.exploring import adviser
from withhold.exploring.adviser import ROUTES, Adviser


@pytest.fixture
def groups():
    """Features of 150 items of three classes, and the classes."""
    rng = torch.Generator().manual_seed(0)
    centres = 2.5 * torch.randn(3, 16, generator=rng)
    return centres.repeat_interleave(50, 0) + torch.randn(150, 16, generator=rng), np.repeat(range(3), 50)


def some(truth, each):
    labels = np.full(len(truth), -1, dtype=np.int32)
    for one in np.unique(truth):
        labels[np.flatnonzero(truth == one)[:each]] = one
    return labels


@pytest.mark.parametrize("route", ROUTES)
def test_a_few_labels_answer_for_all(groups, route):
    features, truth = groups
    answers = Adviser(features).answer(some(truth, 3), 3, route)
    assert (answers.classes == truth).mean() > 0.95
    np.testing.assert_allclose(answers.shares.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(answers.sure, answers.shares.max(1).values)


def test_logistic_regression_is_that_of_scikit_learn_at_its_strength(groups):
    features, truth = groups
    labels = some(truth, 2)
    found = Adviser(features).answer(labels, 3, ROUTES[0]).classes
    x, rows = Adviser(features).x.numpy(), np.flatnonzero(labels >= 0)
    agreeing = [
        (LogisticRegression(C=1 / (len(rows) * strength)).fit(x[rows], labels[rows]).predict(x) == found).mean()
        for strength in (1, 0.1, 0.01, 1e-3)
    ]
    assert max(agreeing) > 0.98


def test_one_class_answers_nothing(groups):
    features, truth = groups
    one = np.where(truth == 0, 0, -1).astype(np.int32)
    assert Adviser(features).answer(one, 1, ROUTES[0]) is None
    assert Adviser(features).measure(one, 1) is None


def test_accuracy_is_of_labels_that_the_fold_had_not_seen(groups):
    features, truth = groups
    noise = np.random.default_rng(0).integers(0, 3, 150).astype(np.int32)
    measured, _ = Adviser(features).measure(noise, 3)
    assert measured.accuracy < 0.5  # of labels drawn at random, which a probe of all would have learned by heart
    measured, route = Adviser(features).measure(some(truth, 10), 3)
    assert measured.accuracy > 0.9 and measured.low <= measured.accuracy <= measured.high and measured.count == 30
    assert route in ROUTES and len(measured.rows) == 30


def test_items_whose_labels_trained_the_encoder_are_not_measured_on(groups):
    features, truth = groups
    told = np.zeros(150, dtype=bool)
    told[:40] = True
    measured, _ = Adviser(features, told).measure(truth.astype(np.int32), 3)
    assert not told[measured.rows].any() and len(measured.rows) == 110
    told[:] = True
    assert Adviser(features, told).measure(truth.astype(np.int32), 3) is None


def test_copies_of_an_item_do_not_tell_each_others_labels():
    rng = torch.Generator().manual_seed(1)
    features = torch.randn(60, 32, generator=rng).repeat(2, 1)
    noise = torch.randint(2, (60,), generator=rng).repeat(2).numpy().astype(np.int32)
    measured, _ = Adviser(features, owners=lambda rows: (rows % 60).tolist()).measure(noise, 2)
    assert measured.low < 0.5
    apart, _ = Adviser(features).measure(noise, 2)
    assert measured.accuracy < apart.accuracy - 0.05


def test_a_wrong_label_is_found(groups):
    features, truth = groups
    labels = truth.astype(np.int32).copy()
    labels[7] = 2
    measured, _ = Adviser(features).measure(labels, 3)
    assert measured.suspects[0] == 7


def test_the_queue_leaves_out_what_has_a_label_or_was_skipped(groups):
    features, truth = groups
    labels, advised = some(truth, 2), Adviser(features)
    passed = [10, 11, 12]
    for strategy in ("", "random", "margin"):
        items, why = advised.queue(200, labels, passed, advised.answer(labels, 3, ROUTES[0]).shares, strategy)
        assert len(items) == 150 - 6 - 3 == len(set(items)) == len(why)
        assert not set(items) & {*passed, *np.flatnonzero(labels >= 0).tolist()}
    assert advised.queue(5, truth.astype(np.int32), [], None, "") == ([], [])


def test_the_nearest_items_are_those_by_cosine(groups):
    features, _ = groups
    rows, distances = Adviser(features).near(features[3], 5, apart=3)
    unit = torch.nn.functional.normalize(features, dim=1)
    centred = torch.nn.functional.normalize(unit - unit.mean(0), dim=1)
    expected = (centred @ centred[3]).argsort(descending=True)[1:6]
    assert rows == expected.tolist() and 3 not in rows
    assert distances == pytest.approx((1 - centred[expected] @ centred[3]).tolist(), abs=1e-3)


def test_what_is_like_nothing_else_is_strange(groups):
    features = groups[0].clone()
    features[20] = 30 * torch.randn(16, generator=torch.Generator().manual_seed(5))
    assert Adviser(features).strange.argmax() == 20


def test_many_items_have_no_graph(groups, monkeypatch):
    monkeypatch.setattr(adviser, "GRAPH", 100)
    assert Adviser(groups[0]).routes() == ROUTES[:1]
    assert np.isfinite(Adviser(groups[0]).strange).all()
