import math

import pytest
import torch

from withhold.training import Journal, findings, rank, spread
from withhold.training.journal import read


def test_rank_counts_the_directions_that_are_used():
    rng = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(32, 5, generator=rng)).Q
    codes = torch.linalg.qr(torch.randn(200, 5, generator=rng)).Q
    codes = codes - codes.mean(0)
    codes = torch.linalg.svd(codes, full_matrices=False).U  # five equally strong directions
    assert rank(codes @ basis.T) == pytest.approx(5, abs=1e-3)
    assert rank(torch.ones(10, 4)) == 0


def test_rank_is_the_entropy_of_the_spectrum():
    values = torch.tensor([3.0, 1.0])
    rotation = torch.linalg.qr(torch.randn(50, 2, generator=torch.Generator().manual_seed(1))).Q
    rotation = rotation - rotation.mean(0)
    rotation = torch.linalg.svd(rotation, full_matrices=False).U
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert rank(rotation * values) == pytest.approx(expected, rel=1e-4)


def test_spread_is_one_for_noise_and_nothing_for_a_point():
    assert spread(torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(100, 64)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"loss": float("nan")}, "not finite at step 40: lower --lr"),
        ({"loss": 1.386, "trivial": 1.3863}, "has not begun to learn"),
        ({"loss": 250.0, "trivial": 1.3863}, "costs 1.39: it has diverged; lower --lr"),
        ({"loss": 0.5, "rank": 1.1, "spread": 0.5}, "has collapsed (rank 1.1"),
        ({"loss": 0.5, "directions": 1.2}, "embeddings have collapsed onto a line (1.2 directions)"),
        ({"loss": 0.5, "waiting": 0.4}, "waits for data 40% of the time"),
        ({"judge/loss": float("inf"), "forger/loss": 1.0}, "The loss of the judge is not finite"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(row, words):
    found = findings([{"step": step, **row} for step in range(20, 41)])
    assert len(found) == 1
    assert words in found[0]


def test_a_loss_that_falls_from_far_above_has_not_diverged():
    found = findings([{"step": step, "loss": 60.0 - step, "trivial": 8.0} for step in range(20, 41)])
    assert len(found) == 1 and "costs 8: it has not begun to learn" in found[0]


def test_two_classes_need_one_dimension():
    rows = [{"step": step, "loss": 0.5, "rank": 1.1, "spread": 0.5} for step in range(20, 41)]
    assert findings(rows, taught=True) == []
    assert "has collapsed" in findings([*rows, rows[-1] | {"spread": 0.01}], taught=True)[0]


def test_a_healthy_run_is_left_in_peace():
    rows = [
        {"step": i, "loss": 1 / i, "trivial": 1.3, "rank": 20.0, "spread": 0.9, "directions": 4.0, "waiting": 0.01}
        for i in range(1, 41)
    ]
    assert findings(rows) == []
    assert findings([]) == []


def test_a_few_steps_are_not_judged_unless_they_broke():
    row = {"step": 3, "loss": 1.5, "trivial": 1.3, "rank": 1.0, "spread": 0.01}
    assert findings([row]) == ["3 steps cannot be judged: train longer, with --epochs or --minutes."]
    assert "not finite at step 3" in findings([row | {"loss": math.nan}])[0]


def test_a_journal_keeps_rows_with_different_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    journal = Journal(path)
    journal.add({"step": 1, "loss": 2.0})
    journal.add({"step": 2, "loss": 1.0, "rank": 5.0})
    assert read(path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "rank": 5.0}]
    assert Journal(path, until=1).rows == [{"step": 1, "loss": 2.0}]


def test_a_loss_with_nothing_to_compare_is_found_out():
    empty = [{"step": step, "loss": 0.0, "trivial": 0.0} for step in (1, 60)]
    (found,) = findings(empty)
    assert found.startswith("The loss is 0, and knowing nothing costs 0 as well: a batch holds nothing to tell apart")
    assert not findings([{"step": 1, "loss": 0.3, "trivial": 0.0}, *empty[1:]])  # learned, of one item a step
