"""Accuracy, NMI and ARI against their definitions; k-means against scikit-learn's; a method's own clusters."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from withhold.evaluation.protocols import clustering
from withhold.evaluation.protocols.clustering import matched
from withhold.methods import Classifier


def values(rows):
    return {row["metric"]: row["value"] for row in rows}


class Answering(Classifier):
    """A classifier that gives these scores of the test items, in their order."""

    def __init__(self, scores):
        nn.Module.__init__(self)
        self.rng = torch.Generator()
        self.encoder, self.scores, self.places = SimpleNamespace(kind="image"), scores, iter(range(len(scores)))

    def classify(self, items):
        return self.scores[[next(self.places) for _ in items]]


@pytest.mark.parametrize(("clusters", "classes"), [(4, 4), (5, 3), (3, 5)])
def test_accuracy_is_that_of_the_best_of_all_pairings(clusters, classes):
    rng = torch.Generator().manual_seed(0)
    found, truth = (torch.randint(k, (60,), generator=rng) for k in (clusters, classes))
    names = itertools.permutations([*range(classes), *[-1] * max(0, clusters - classes)], clusters)
    best = max(sum(given[a] == b for a, b in zip(found.tolist(), truth.tolist(), strict=True)) for given in names)
    assert matched(found, truth) == best / 60


def test_the_measures_of_a_methods_own_answers_are_their_definitions(make_samples, make_task):
    rng = torch.Generator().manual_seed(1)
    labels, scores = torch.randint(3, (50,), generator=rng).tolist(), torch.randn(50, 4, generator=rng)
    samples = make_samples(labels)
    task = make_task(samples, samples, method=Answering(scores))
    found = clustering.measure(task)
    assert all(row["clusters"] == 4 for row in found)
    clusters = scores.argmax(1).tolist()
    pairs = list(zip(clusters, labels, strict=True))
    joint = {pair: pairs.count(pair) / 50 for pair in itertools.product(range(4), range(3))}
    first = [sum(joint[a, b] for b in range(3)) for a in range(4)]
    second = [sum(joint[a, b] for a in range(4)) for b in range(3)]
    information = sum(p * math.log(p / (first[a] * second[b])) for (a, b), p in joint.items() if p)
    entropy = [-sum(p * math.log(p) for p in shares if p) for shares in (first, second)]
    assert values(found)["NMI"] == pytest.approx(2 * information / sum(entropy))
    together = [(a == c, b == d) for (a, b), (c, d) in itertools.combinations(pairs, 2)]
    both, one, other = sum(map(all, together)), sum(first for first, _ in together), sum(last for _, last in together)
    expected = one * other / len(together)
    assert values(found)["ARI"] == pytest.approx((both - expected) / ((one + other) / 2 - expected))


def test_right_clusters_are_right_whatever_they_are_called(make_samples, make_task):
    labels = [0, 1, 2, 2, 1, 0] * 5
    samples = make_samples(labels)
    task = make_task(samples, samples, method=Answering(torch.eye(3)[[(k + 1) % 3 for k in labels]]))
    found = clustering.measure(task)
    assert values(found) == pytest.approx({"accuracy": 1, "NMI": 1, "ARI": 1})
    chance = {row["metric"]: row["chance"] for row in found}
    assert 1 / 3 <= chance["accuracy"] < 0.7
    assert chance["NMI"] < 0.3
    assert abs(chance["ARI"]) < 0.2


def test_other_features_are_clustered_by_scikit_learns_k_means_which_sees_no_label(digits, make_task):
    task = make_task(*digits)
    found = clustering.measure(task)
    theirs = KMeans(10, n_init=10, random_state=3).fit(task.bank.numpy()).predict(task.queries.numpy())
    assert values(found)["accuracy"] == pytest.approx(matched(torch.from_numpy(theirs).long(), task.truth), abs=0.05)
    train, test = digits
    shuffled = train.with_labels(np.random.default_rng(0).permutation(train.labels), train.classes)
    assert clustering.measure(make_task(shuffled, test)) == found


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_collapsed_features_give_one_cluster(make_samples, make_task):
    samples = make_samples([0, 1, 2] * 20)
    task = make_task(samples, samples)
    task.__dict__.update({"bank": torch.ones(60, 4), "queries": torch.ones(60, 4)})
    assert values(clustering.measure(task)) == pytest.approx({"accuracy": 1 / 3, "NMI": 0, "ARI": 0})


def test_few_items_are_clusters_of_their_own(make_samples, make_task):
    task = make_task(make_samples([0, 1]), make_samples([0, 1, 2] * 4))
    assert clustering.measure(task)[0]["clusters"] == 2
