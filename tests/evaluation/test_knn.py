import math

import numpy as np
import pytest
import torch

from withhold.evaluation import knn
from withhold.evaluation.protocols import knn as module


def by_hand(bank, labels, queries, classes, k, temperature):
    """The vote, spelled out in double precision."""
    found = []
    for query in queries.double().numpy():
        similar = [float(query @ b / np.linalg.norm(query) / np.linalg.norm(b)) for b in bank.double().numpy()]
        votes = [0.0] * classes
        for i in sorted(range(len(similar)), key=lambda i: -similar[i])[:k]:
            votes[labels[i]] += math.exp(similar[i] / temperature)
        found.append(votes.index(max(votes)))
    return found


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (20, 0.1), (20, 1.0), (20, 0.01)])
def test_votes_as_by_hand(k, temperature):
    rng = torch.Generator().manual_seed(k)
    bank, queries = torch.randn(400, 5, generator=rng), torch.randn(40, 5, generator=rng)
    labels = torch.randint(4, (400,), generator=rng)
    expected = by_hand(bank, labels.tolist(), queries, 4, k, temperature)
    assert knn(bank, labels, queries, 4, k=k, temperature=temperature).tolist() == expected


def test_no_more_neighbours_than_a_fifth_of_a_class():
    rng = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(60, 3, generator=rng), torch.randn(50, 3, generator=rng)
    labels = torch.arange(60) % 4
    assert knn(bank, labels, queries, 4).tolist() == by_hand(bank, labels.tolist(), queries, 4, 3, 0.1)


def test_classes_without_an_item_do_not_lower_the_neighbours():
    rng = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(60, 3, generator=rng), torch.randn(50, 3, generator=rng)
    labels = torch.arange(60) % 2
    assert torch.equal(knn(bank, labels, queries, 30), knn(bank, labels, queries, 2))


def test_chunks_change_nothing(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(100, 5, generator=rng), torch.randn(40, 5, generator=rng)
    labels = torch.arange(100) % 4
    whole = knn(bank, labels, queries, 4)
    monkeypatch.setattr(module, "CHUNK", 300)
    assert torch.equal(knn(bank, labels, queries, 4), whole)


def test_a_low_temperature_does_not_overflow():
    bank = torch.eye(3)
    assert knn(bank, torch.arange(3), bank, 3, temperature=1e-4).tolist() == [0, 1, 2]


def test_one_feature_and_collapsed_features():
    one = torch.tensor([[-1.0], [-2.0], [1.0], [3.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert knn(one, labels, torch.tensor([[-9.0], [0.1]]), 2).tolist() == [0, 1]
    for constant in (torch.zeros(40, 8), torch.full((40, 8), 0.3)):
        found = knn(constant, torch.arange(40) % 4, constant, 4)
        assert len(found.unique()) == 1  # one answer for all, which is chance


def test_digits(digits, make_task):
    rows = module.measure(make_task(*digits))
    assert rows[0]["value"] > 0.95
