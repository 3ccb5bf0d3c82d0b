"""The parts of a plan, each against an independent implementation."""

from itertools import combinations, product

import numpy as np
import pytest
import torch

from withhold.planning.affinity import affinities, win_rates
from withhold.planning.programme import choose
from withhold.planning.tasks import Truth
from withhold.planning.transfers import Readout, judge, learn, reader, transfer


def test_win_rates_are_counted_item_by_item_and_a_tie_is_half_a_win():
    errors = np.random.default_rng(0).integers(0, 4, (5, 40)).astype(float)
    rates = win_rates(errors)
    for i, j in product(range(5), repeat=2):
        wins = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in zip(errors[i], errors[j], strict=True))
        assert rates[i, j] == pytest.approx(wins / 40)
    assert np.allclose(rates + rates.T, 1)


def test_affinities_are_what_odds_that_agree_were_made_of():
    """Where candidate i wins against j as their strengths say (Bradley & Terry), these are the eigenvector."""
    strengths = np.array([0.4, 0.3, 0.2, 0.1])
    rates = strengths[:, None] / (strengths[:, None] + strengths)
    assert affinities(rates) == pytest.approx(strengths)


def test_affinities_are_numpys_principal_eigenvector_of_odds_that_do_not_agree():
    rates = np.array([[0.5, 0.7, 0.4], [0.3, 0.5, 0.9], [0.6, 0.1, 0.5]])
    odds = np.array([[1, 7 / 3, 2 / 3], [3 / 7, 1, 9], [3 / 2, 1 / 9, 1]])
    values, vectors = np.linalg.eig(odds)
    principal = vectors[:, np.argmax(values.real)].real
    power = np.linalg.matrix_power(odds, 60).sum(1)
    assert affinities(rates) == pytest.approx(principal / principal.sum())
    assert affinities(rates) == pytest.approx(power / power.sum())


def test_who_never_wins_has_hardly_any_affinity():
    found = affinities(win_rates(np.arange(3.0)[:, None] + np.zeros(50)))
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1) and found[0] > 0.9 > 1e-3 > found[2] > 0


@pytest.mark.parametrize("seed", range(6))
def test_the_plan_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    names, targets, budget = "abcd", ("x", "y", "z"), 1 + seed % 3
    together = [tuple(part) for k in (1, 2) for part in combinations(names, k)]
    transfers = [
        {"sources": part, "target": target, "affinity": rng.random()} for part, target in product(together, targets)
    ]
    best = max(
        sum(transfer["affinity"] for transfer in plan)
        for plan in product(*([t for t in transfers if t["target"] == target] for target in targets))
        if len({source for transfer in plan for source in transfer["sources"]}) <= budget
    )
    found = choose(transfers, budget)
    assert sorted(transfer["target"] for transfer in found) == sorted(targets)
    assert len({source for transfer in found for source in transfer["sources"]}) <= budget
    assert sum(transfer["affinity"] for transfer in found) == pytest.approx(best)


def test_errors_are_those_of_each_item_by_hand():
    said = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    classes = Truth(torch.tensor([2, -1, 0]), 4)
    assert classes.known.tolist() == [True, False, True]
    row = said[2].exp()
    assert classes.select(torch.tensor([2])).errors(said[2:]).item() == pytest.approx(
        -(row[0] / row.sum()).log().item()
    )
    numbers = Truth(torch.tensor([[1.0, float("nan")], [3.0, 5.0]]))
    assert numbers.errors(torch.tensor([[2.0, 9.0], [3.0, 3.0]])).tolist() == [1.0, 2.0]
    scaled = numbers.scaled(numbers).values
    assert scaled[:, 0].tolist() == [-1.0, 1.0]
    masks = torch.tensor([[[0, 1], [-1, -1]]])
    scores = torch.zeros(1, 2, 2, 2)
    scores[0, 0, 0, 0] = 50.0  # sure and right; the other known pixel is a guess
    assert Truth(masks, 2).errors(scores).item() == pytest.approx(np.log(2) / 2, rel=1e-4)


@pytest.mark.parametrize(
    "truth",
    [Truth(torch.zeros(1, 3, 32, 32)), Truth(torch.zeros(1, 30, 30).long(), 5), Truth(torch.zeros(1).long(), 7)],
)
def test_a_read_out_has_two_layers_and_says_what_is_asked(truth):
    said = Readout(16, 4, truth)(torch.randn(1, 16, 4, 4))
    assert torch.isfinite(truth.errors(said)).all()
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in Readout(16, 4, truth).modules()) == 2


def test_a_read_out_finds_what_the_features_hold_and_nothing_else():
    rng = torch.Generator().manual_seed(0)
    maps, noise = torch.randn(2, 160, 6, 3, 3, generator=rng)
    truth = Truth((maps[:, 0].mean((1, 2)) > 0).long(), 2)
    few, held = truth.select(torch.arange(80)), truth.select(torch.arange(80, 160))
    told, untold = (transfer([(part[:80], part[80:])], few, held, 100, 0).mean() for part in (maps, noise))
    assert told < 0.5 < np.log(2) - 0.1 < untold
    both = transfer([(part[:80], part[80:]) for part in (noise, maps)], few, held, 100, 0).mean()
    assert both < untold


def test_units_of_features_do_not_matter_and_the_seed_decides_all():
    rng = torch.Generator().manual_seed(1)
    maps = torch.randn(40, 4, 2, 2, generator=rng)
    truth = Truth(torch.randn(40, 1, generator=rng))
    parts = [[(some[:20], some[20:])] for some in (maps, 50 * maps + 3)]
    few, held = truth.select(torch.arange(20)), truth.select(torch.arange(20, 40))
    first, again = (transfer(part, few, held, 10, 0) for part in parts)
    other = transfer(parts[0], few, held, 10, 1)
    assert torch.allclose(first, again, atol=1e-3)
    assert not torch.allclose(first, other, atol=1e-3)
    network = reader(maps, truth, 0)
    before = judge(network, maps, truth).mean()
    learn(network, maps, truth, 60, 0)
    assert judge(network, maps, truth).mean() < before
