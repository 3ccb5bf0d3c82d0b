"""The parts of `withhold learn`, each against an independent implementation."""

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from withhold.learning import folds, propagation, routes
from withhold.learning.calibration import calibration_error, cross_fitted, temperature
from withhold.learning.folds import choose, fold, interval
from withhold.learning.mislabelled import mislabelled


def blobs(count, dim=8, classes=3, spread=0.6, seed=0):
    """Points around as many centres as there are classes: float32 [count, dim], and the classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.standard_normal((classes, dim))
    return torch.tensor(centres[labels] + spread * rng.standard_normal((count, dim))).float(), labels


def test_propagation_is_the_dense_closed_form():
    features, labels = blobs(60)
    x = features - features.mean(0)
    x = (x / x.norm(dim=1, keepdim=True)).double().numpy()
    cosines = x @ x.T
    np.fill_diagonal(cosines, -np.inf)
    one_way = np.zeros((60, 60))
    for row in range(60):
        for column in np.argsort(-cosines[row])[:5]:
            one_way[row, column] = max(cosines[row, column], 0) ** 3
    both = one_way + one_way.T
    root = np.diag(1 / np.sqrt(both.sum(1)))
    told = np.zeros((60, 3))
    told[np.arange(6), labels[:6]] = 1
    expected = np.linalg.solve(np.eye(60) - 0.99 * root @ both @ root, told)
    found = propagation.diffuse(propagation.graph(features, 5), np.arange(6), labels[:6], 3)
    assert np.abs(found - expected).max() < 1e-3 * expected.max()
    assert (propagation.propagate(propagation.graph(features, 5), np.arange(6), labels[:6], 3) == labels).mean() > 0.8


def test_what_no_label_reaches_has_none_and_what_was_told_stays():
    x = torch.zeros(8, 8)
    x[:4, 0], x[4:, 1] = 1.0, 1.0
    x += 0.01 * torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    found = propagation.propagate(propagation.graph(x, 2), np.array([0, 1]), np.array([1, 0]), 2)
    assert found[:2].tolist() == [1, 0] and set(found[4:].tolist()) == {-1}


def test_a_graph_of_few_items_with_many_features_some_of_which_are_dead():
    features = torch.zeros(12, 400)
    features[:, :60] = torch.randn(12, 60, generator=torch.Generator().manual_seed(0))
    found = propagation.graph(features, 3)
    assert np.isfinite(found.toarray()).all() and np.abs((found - found.T).toarray()).max() < 1e-12


def test_classes_reach_as_much_as_their_share_of_the_labels():
    features, labels = blobs(90, spread=1.5)
    rows = np.array([0, 3, 6, 1, 2])  # three labels of class 0, one of each other
    affinities = propagation.graph(features, 10)
    reached = propagation.diffuse(affinities, rows, labels[rows], 3)
    mass = [sum(max(reached[item, c], 0) for item in range(90)) for c in range(3)]
    expected = [max(range(3), key=lambda c: (3, 1, 1)[c] * reached[i, c] / mass[c]) for i in range(90)]
    found = propagation.propagate(affinities, rows, labels[rows], 3)
    assert [c for i, c in enumerate(found) if i not in rows] == [c for i, c in enumerate(expected) if i not in rows]
    assert expected != reached.argmax(1).tolist()


def test_propagation_takes_seconds_for_many():
    features, labels = blobs(20_000, dim=32)
    began = time.process_time()
    found = propagation.propagate(propagation.graph(features), np.arange(30), labels[:30], 3)
    assert time.process_time() - began < 20
    assert (found == labels).mean() > 0.9


def test_the_temperature_is_where_the_likelihood_is_highest():
    rng = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 5, generator=rng) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=rng)[:, 0]
    found = temperature(3 * true[None], labels)
    tried = np.linspace(0.5, 6, 1101)
    costs = [-(3 * true / t).log_softmax(1)[torch.arange(4000), labels].mean().item() for t in tried]
    assert found == pytest.approx(tried[np.argmin(costs)], abs=0.006)
    assert found == pytest.approx(3, abs=0.2)
    sure = 5 * torch.eye(3)[[0, 1, 2] * 4][None].repeat(4, 1, 1)
    assert 0.4 < temperature(sure, torch.tensor([0, 1, 2] * 4)) < 1  # twelve right answers make none certain


def test_no_fold_has_a_say_in_the_temperature_that_its_probabilities_have():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 3
    scores = 4 * torch.randn(2, 30, 3, generator=rng) + 3 * torch.eye(3)[labels]
    drawn = fold(labels.numpy(), range(30), np.arange(3, 30), repeats=3)
    found, tried = cross_fitted(scores, labels, drawn), np.exp(np.linspace(-2.5, 2.5, 2001))
    assert not found[:, :3].any()  # which no fold holds out
    for repeat in range(2):
        for _, held in drawn[repeat]:
            others = np.setdiff1d(np.arange(3, 30), held)
            said, told = scores[repeat, others].double(), labels[others]
            likelihoods = [(said / t).log_softmax(1)[range(len(told)), told].sum().item() for t in tried]
            best = tried[np.argmax(np.array(likelihoods) - np.log(tried) ** 2 / (2 * 0.5**2))]
            expected = (scores[repeat, held] / best).softmax(1)
            torch.testing.assert_close(found[repeat, held], expected, atol=1e-3, rtol=0)


def test_the_calibration_error_is_its_definition():
    rng = torch.Generator().manual_seed(1)
    shares = (3 * torch.randn(500, 4, generator=rng)).softmax(1)
    labels = torch.randint(0, 4, (500,), generator=rng)
    sure, said = shares.max(1)
    expected = 0.0
    for inside in np.array_split(np.argsort(sure.numpy(), kind="stable"), 15):
        accuracy = sum(int(said[i] == labels[i]) for i in inside) / len(inside)
        confidence = sum(sure[i].item() for i in inside) / len(inside)
        expected += len(inside) / 500 * abs(accuracy - confidence)
    assert calibration_error(shares[None], labels) == pytest.approx(expected, abs=1e-5)


def test_the_calibration_error_needs_two_bins():
    sure = torch.tensor([0.95] * 20 + [0.55] * 20)  # right are half of the first and all of the others
    shares = torch.stack([sure, 1 - sure], 1)[None]
    labels = torch.tensor([0, 1] * 10 + [0] * 20)
    assert calibration_error(shares, labels) == pytest.approx(0.45, abs=1e-6)  # with one bin it would be 0
    assert calibration_error(shares[:, :39], labels[:39]) is None


def test_repeats_of_the_same_predictions_are_as_well_calibrated_as_one():
    shares = (3 * torch.randn(1, 60, 4, generator=torch.Generator().manual_seed(1))).softmax(2)
    labels = torch.arange(60) % 4
    assert calibration_error(shares.expand(4, -1, -1), labels) == pytest.approx(calibration_error(shares, labels))


def test_no_route_from_frozen_features_is_told_the_labels_that_it_is_asked_for():
    features, rng = torch.randn(120, 8, generator=torch.Generator().manual_seed(0)), np.random.default_rng(0)
    true, asked, told = rng.integers(0, 2, 30), np.arange(6), np.arange(6, 30)
    found = []
    for labels in (true, np.where(np.arange(30) < 6, 1 - true, true)):
        known = SimpleNamespace(labels=labels, rows=np.arange(0, 120, 4), classes=("a", "b"))
        given, run = SimpleNamespace(seed=0), SimpleNamespace(folder=Path("run"))
        ways = routes.frozen(given, known, features, "features", run, {}, 1.0)
        found.append([way.answer(told, asked) for way in ways])
    assert len(found[0]) == 2
    assert all(torch.equal(*scores) for scores in zip(*found, strict=True))


def test_many_unlabelled_items_put_label_propagation_first():
    features, run = torch.randn(120, 8, generator=torch.Generator().manual_seed(0)), SimpleNamespace(folder=Path("run"))
    for count, first in ((11, "label propagation"), (12, "logistic regression")):
        known = SimpleNamespace(labels=np.arange(count) % 2, rows=np.arange(count), classes=("a", "b"))
        ways = routes.frozen(SimpleNamespace(seed=0), known, features, "features", run, {}, 1.0)
        assert len(ways) == 2 and ways[0].name == f"features, {first}"


def test_folds_hold_out_every_item_once_and_keep_owners_together():
    labels, owners = np.arange(40) % 4, np.arange(40) // 8
    assert folds.counted(np.array([0, 0, 0, 1]), ["a", "a", "b", "b"])[1].tolist() == [2, 1]  # copies count once
    new = np.array([False, False, True, False])
    assert folds.counted(np.array([0, 0, 0, 1]), ["a", "a", "b", "b"], new)[1].tolist() == [1, 0]
    for parts in fold(labels, owners, np.arange(40), repeats=3):
        firsts = [row for row in range(40) if row % 8 < 4]  # of each owner and class
        assert folds.held_out(parts).tolist() == firsts
        for known, held in parts:
            assert not set(owners[known]) & set(owners[held])
    alone = fold(labels, range(40), np.arange(40))
    assert len(alone) == 4 and len(alone[0]) == 5
    assert all(np.bincount(labels[held]).tolist() == [2] * 4 for parts in alone for _, held in parts)
    assert {tuple(held) for _, held in alone[0]} != {tuple(held) for _, held in alone[1]}
    assert len(fold(np.array([0, 0, 0, 1, 1, 1, 1]), range(7), np.arange(7))[0]) == 3
    for known, held in fold(np.array([2, 0, 0, 0, 1, 1, 1]), range(7), np.arange(1, 7))[0]:
        assert 0 in known and 0 not in held


def test_the_interval_is_of_items():
    right = np.random.default_rng(0).random((1, 200)) < 0.7
    mean, low, high = interval(np.repeat(right, 4, axis=0))  # repeats of the same tell nothing new
    theirs = binomtest(int(right.sum()), 200).proportion_ci(method="wilson")
    assert (mean, low, high) == pytest.approx((right.mean(), *theirs), abs=2e-3)
    never_wrong = binomtest(12, 12).proportion_ci(method="wilson")
    assert interval(np.ones((4, 12)))[1] == pytest.approx(never_wrong.low, abs=1e-4)


def test_the_first_route_wins_a_tie():
    first = np.tile((np.arange(100) < 60).astype(float), (4, 1))
    little, much = first.copy(), first.copy()
    little[:, 60:62], little[:, 0] = 1.0, 0.0  # two more are right, and one fewer
    much[:, 60:80] = 1.0
    assert choose([first, little]) == 0 and choose([little, first]) == 0
    assert choose([first, much]) == 1
    assert choose([first, little, much[:1]]) == 2  # of what has fewer repeats these are compared
    assert choose([much, first]) == 0
    for n in range(6, 200):  # one item more or less is a tie, however it is rounded
        more, fewer = np.ones((1, n)), np.ones((1, n))
        fewer[0, 0] = 0
        assert choose([fewer, more]) == 0


def test_what_is_likeliest_of_its_own_class_does_not_look_mislabelled():
    shares = np.array([[0.48, 0.46, 0.06], [0.9, 0.05, 0.05], [0.8, 0.15, 0.05]])
    assert mislabelled(shares, np.array([0, 0, 1])).tolist() == [2]


def test_planted_wrong_labels_are_found():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 300)
    scores = torch.tensor(2.5 * np.eye(4)[true] + rng.standard_normal((300, 4)) * 0.7)
    told = true.copy()
    wrong = rng.choice(300, 15, replace=False)
    told[wrong] = (told[wrong] + 1) % 4
    found = mislabelled(scores.softmax(1).numpy(), told)
    assert len(set(found[:15]) & set(wrong)) >= 12
    assert not set(mislabelled(np.eye(4)[true] * 0.9 + 0.025, true))
