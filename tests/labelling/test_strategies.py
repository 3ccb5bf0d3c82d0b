"""Each strategy matches an independent implementation; the default suits the number of labels."""

import dataclasses
import itertools
import logging

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression

from withhold.errors import UsageError
from withhold.labelling import STRATEGIES, Pool, rank, strategies
from withhold.labelling.guesses import out_of_fold, standardised


def pool(count=60, dim=6, classes=3, labelled=(), seed=0, labels=None, features=None):
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(count, dim, generator=rng) if features is None else features
    p = torch.randn(len(features), classes, generator=rng).softmax(1)
    mask = torch.zeros(len(features), dtype=torch.bool)
    mask[list(labelled)] = True
    labels = torch.where(mask, torch.arange(len(features)) % classes, -1) if labels is None else labels
    return Pool(features, mask, p, labels, rng)


def chosen(name, some, n):
    items, scores = STRATEGIES[name].choose(some, n)
    assert len(items) == len(scores) == len(set(items.tolist())) == n
    assert not some.labelled[items].any()
    return items, scores


def test_uncertainties_are_those_of_scipy_and_of_the_sorted_probabilities():
    some = pool(labelled=(3, 5), classes=4)
    p = some.probabilities.numpy()
    ordered = np.sort(p, axis=1)[:, ::-1]
    for name, expected in {
        "least-confident": (1 - ordered[:, 0]) * 4 / 3,
        "margin": 1 - (ordered[:, 0] - ordered[:, 1]),
        "entropy": entropy(p, axis=1, base=4),
    }.items():
        items, scores = chosen(name, some, 7)
        best = [i for i in np.argsort(-expected) if i not in (3, 5)][:7]
        assert items.tolist() == best, name
        np.testing.assert_allclose(scores, expected[best], atol=1e-6)


def test_uncertainties_lie_between_zero_and_one():
    sure, even = torch.eye(4)[:1], torch.full((1, 4), 0.25)
    for score in (strategies.least_confident, strategies.margin, strategies.entropy):
        assert score(sure).item() == pytest.approx(0)
        assert score(even).item() == pytest.approx(1)


@pytest.mark.parametrize("labelled", [(), (0, 9, 30)])
def test_core_set_is_brute_force(labelled):
    some = pool(labelled=labelled)
    items, scores = chosen("core-set", some, 8)
    x = some.features.double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    apart, taken, said = cdist(x, x), list(labelled), []
    for _ in range(8):
        far = apart[:, taken].min(1) if taken else -cdist(x, x.mean(0, keepdims=True))[:, 0]
        far[taken] = -np.inf
        said.append(far.max() if taken else 0)
        taken.append(int(far.argmax()))
    assert items.tolist() == taken[len(labelled) :]
    np.testing.assert_allclose(scores, said, atol=1e-5)


def test_badge_measures_the_outer_products_that_it_never_forms():
    """The scores are distances of explicit gradients, and the draws follow their squares."""
    some = pool(count=12, dim=3, labelled=(4,))
    p, h = some.probabilities.numpy(), some.features.numpy()
    gradients = np.stack([np.outer(q - np.eye(3)[q.argmax()], row).ravel() for q, row in zip(p, h, strict=True)])
    apart = cdist(gradients, gradients)
    lengths = np.linalg.norm(gradients, axis=1)
    lengths[4] = 0
    seconds = np.zeros(12)
    for _ in range(400):
        items, scores = chosen("badge", some, 5)
        assert items[0] == lengths.argmax()
        expected = [lengths.max(), *(apart[items[k], items[:k]].min() for k in range(1, 5))]
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        seconds[items[1]] += 1 / 400
    squares = np.where(np.arange(12) == 4, 0, apart[lengths.argmax()] ** 2)
    np.testing.assert_allclose(seconds, squares / squares.sum(), atol=0.08)


def test_badge_draws_by_the_square_of_the_distance():
    """One item is ten times as far from the first as nine others are: by its distance it would be half of the draws."""
    some = pool(features=torch.tensor([[10.0], *[[9.0]] * 9, [0.0]]))
    some = dataclasses.replace(some, probabilities=torch.tensor([[0.6, 0.4]]).repeat(11, 1))
    far = [chosen("badge", some, 2)[0][1].item() == 10 for _ in range(400)]
    assert np.mean(far) == pytest.approx(100 / 109, abs=0.06)


def test_badge_goes_on_where_all_that_is_left_is_alike():
    some = pool(features=torch.ones(9, 2))
    some = Pool(some.features, some.labelled, torch.full((9, 3), 1 / 3), some.labels, some.rng)
    chosen("badge", some, 9)


def planted(sizes, labelled=(), seed=0):
    """Clusters of these sizes along axes of their own, each around a centre that is its first member."""
    rng, rows = np.random.default_rng(seed), []
    for axis, size in enumerate(sizes):
        rows += [10 * np.eye(len(sizes))[axis], *(10 * np.eye(len(sizes))[axis] + rng.normal(0, 0.5, len(sizes)))[None]]
        rows += [10 * np.eye(len(sizes))[axis] + rng.normal(0, 0.5, len(sizes)) for _ in range(size - 2)]
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    return pool(features=torch.tensor(np.stack(rows), dtype=torch.float32), labelled=labelled), clusters


def test_typical_takes_the_middle_of_each_cluster_the_largest_first():
    some, clusters = planted((40, 80, 60))
    items, scores = chosen("typical", some, 3)
    assert clusters[items].tolist() == [1, 2, 0]
    x = some.features.double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for item, score in zip(items.tolist(), scores.tolist(), strict=True):
        members = np.flatnonzero(clusters == clusters[item])
        near = np.sort(cdist(x[members], x[members]), axis=1)[:, 1 : 1 + min(20, len(members) // 2)].mean(1)
        assert members[near.argmin()] == item
        assert score == pytest.approx(1 / (near.min() + 1e-5), rel=1e-3)


def test_typical_leaves_out_what_is_labelled_and_outliers():
    some, clusters = planted((40, 80, 60, 3), labelled=(45, 46))
    items, _ = chosen("typical", some, 2)  # four clusters, of which one has labels and one is too small
    assert clusters[items].tolist() == [2, 0]


@pytest.mark.parametrize(("size", "third"), [(5, 1), (6, 3)])
def test_of_a_cluster_of_up_to_five_items_typical_asks_last(size, third):
    some, clusters = planted((40, 80, 60, size), labelled=(45,))
    items, _ = chosen("typical", some, 3)
    assert clusters[items].tolist() == [2, 0, third]


def test_typical_visits_by_turns_no_more_clusters_than_it_may_look_for(monkeypatch):
    monkeypatch.setattr(strategies, "CLUSTERS", 3)
    some, clusters = planted((40, 80, 60))
    items, _ = chosen("typical", some, 8)
    assert clusters[items].tolist() == [1, 2, 0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("most", [strategies.MOST, 6])
def test_typical_can_choose_all(most, monkeypatch):
    monkeypatch.setattr(strategies, "MOST", most)
    some, _ = planted((20, 12, 3), labelled=(0, 1, 33))
    chosen("typical", some, 32)


def halves(wrong_side=True):
    """Items whose class follows from the first number; where the second is large, labels are drawn by chance."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    x[:, 0] = np.sign(x[:, 0]) * (1 + abs(x[:, 0]))
    x[:, 1] = rng.integers(0, 2, 400) * 6
    y = np.where((x[:, 1] > 3) & wrong_side, rng.integers(0, 2, 400), x[:, 0] > 0).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(np.where(np.arange(400) < 200, y, -1))


def test_atlas_asks_for_what_is_like_the_items_that_are_named_wrongly():
    x, labels = halves()
    found = rank(x, 20, labels, strategy="atlas")
    assert (x[found.items][:, 1] > 3).float().mean() > 0.8, "by chance it would be half"
    first, later = found.scores[:10], found.scores[10:]
    assert (first.diff() <= 0).all() and later[0] < first[0], "what is chosen counts as right from then on"


def test_atlas_tells_held_out_items_that_are_named_wrongly_from_others_and_both_count_alike():
    """Scikit-learn's C is 1 / (n * strength), and one weight does what two of half its size do here."""
    x, labels = halves()
    found, scores = strategies.atlas(Pool(x, labels >= 0, None, labels, torch.Generator().manual_seed(0)), 10)
    z, known = standardised(x), labels[:200]
    wrong = out_of_fold(z[:200], known, torch.Generator().manual_seed(0)) != known
    assert 0 < wrong.sum() < 80
    probe = LogisticRegression(C=2 / (200 * 0.1), class_weight="balanced", tol=1e-8).fit(z[:200], wrong)
    probable = probe.predict_proba(z[200:])[:, 1]
    np.testing.assert_allclose(scores, np.sort(probable)[:-11:-1], atol=1e-4)
    np.testing.assert_allclose(scores, probable[found - 200], atol=1e-4)


def test_atlas_needs_right_and_wrong_ones(caplog):
    x, labels = halves(wrong_side=False)
    with pytest.raises(
        UsageError, match=r"atlas needs correct and wrong predictions, and none of the labelled items are misclassified"
    ):
        rank(x, 20, labels, strategy="atlas")


def test_what_a_probe_was_not_told_it_cannot_know_by_heart():
    x, rng = torch.eye(40), torch.Generator().manual_seed(0)  # each item has a direction of its own
    labels = torch.arange(40) % 2
    assert (out_of_fold(x, labels, rng) == labels).float().mean() < 0.75


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_seed_makes_the_same_ranking(name):
    x, labels = halves()
    one, again, other = (rank(x, 12, labels, strategy=name, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.items, again.items) and torch.equal(one.scores, again.scores)
    assert (name in ("random", "badge")) <= (not torch.equal(one.items, other.items))
    assert len(one.why) == 12 and one.probabilities.shape == (12, 2)
    assert (labels[one.items] < 0).all()


def test_the_default_follows_how_many_labels_there_are(caplog):
    caplog.set_level(logging.INFO, "withhold")
    x, labels = halves()
    none = torch.full_like(labels, -1)
    for count, known, name, reason in (
        (0, None, "typical", "needs no classifier"),
        (20, None, "typical", "since there are 10 labels per class"),
        (22, None, "margin", "since there are 11 labels per class"),
        (0, torch.full((400, 2), 0.5), "typical", "since there are 0 labels per class"),
    ):
        some = none.clone()
        some[:count] = torch.arange(count) % 2
        assert rank(x, 5, some, probabilities=known).strategy == name
        assert f"strategy: {name}, " in caplog.messages[-1] and reason in caplog.messages[-1]
    told = torch.arange(400) < 50  # whatever their labels are
    found = rank(x, 5, none, told=told, probabilities=torch.full((400, 2), 0.5))
    assert found.strategy == "margin" and not told[found.items].any()
    found = rank(x, 5, none, skipped=told, probabilities=torch.full((400, 2), 0.5))
    assert found.strategy == "typical" and not told[found.items].any()


def test_what_cannot_be_ranked():
    x, none = torch.eye(6), torch.full((6,), -1)
    one = none.index_fill(0, torch.tensor([0, 1]), 0)
    every = torch.arange(6) % 2
    for labels, n, name, sentence in (
        (none, 7, None, "photos has 6 unlabelled items, fewer than the 7 to choose. Choose 6 at most"),
        (one, 5, None, "photos has 4 unlabelled items, fewer than the 5 to choose"),
        (every, 1, None, "All 6 items of photos have a label. Give data with unlabelled items"),
        (none, 0, None, "The number of items to choose must be at least 1, not 0"),
        (none, 1, "margn", "There is no strategy 'margn'.* margin"),
        (none, 1, "margin", "margin needs a classifier. Give labels of two classes or more, or use typical"),
        (one, 1, "badge", "badge needs a classifier"),
        (one, 1, "atlas", "atlas needs labelled items"),
    ):
        with pytest.raises(UsageError, match=sentence):
            rank(x, n, labels, strategy=name, source="photos")


@pytest.mark.parametrize(("name", "n"), itertools.product(STRATEGIES, (1, 40)))
def test_all_that_is_left_can_be_chosen_also_where_items_are_alike(name, n):
    x = torch.ones(60, 3)
    x[:10] = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(60) < 20, torch.arange(60) % 2, -1)
    found = rank(x, n, labels, strategy=name)
    assert len(set(found.items.tolist())) == n and (found.items >= 20).all()
