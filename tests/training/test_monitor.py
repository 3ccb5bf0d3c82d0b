import math

import pytest
import torch

from withhold.methods import find, names
from withhold.training import Journal, findings, gain, rank, spread
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
        ({"loss": float("nan")}, "not finite at step 40. Lower --lr"),
        ({"loss": 1.386, "trivial": 1.3863}, "has learned nothing yet"),
        ({"loss": 1.34, "trivial": 1.3863}, "baseline is 1.39. The loss is only 3% lower: raise --lr or train longer"),
        ({"loss": 250.0, "trivial": 1.3863}, "the trivial baseline is 1.39. The training has diverged: lower --lr"),
        ({"loss": 0.5, "rank": 1.1, "spread": 0.5}, "has collapsed (rank 1.1"),
        ({"loss": 0.5, "directions": 1.2}, "embeddings have collapsed onto a line (1.2 directions)"),
        (
            {"loss": 0.5, "waiting": 0.4, "seconds": 100.0},
            "waits for data 40% of the time. Put the cache on a faster",
        ),
        ({"judge/loss": float("inf"), "forger/loss": 1.0}, "The loss of the judge is not finite"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(row, words):
    found = findings([{"step": step, **row} for step in range(20, 41)])
    assert len(found) == 1
    assert words in found[0]


def test_a_training_in_which_unlabelled_items_hardly_counted_is_told_from_one_in_which_they_did():
    rows = [{"step": step, "loss": 0.5, "counted": 0.02} for step in range(20, 40)]
    assert "counted with only 2.0% of their weight" in findings(rows)[0] and "--encoder RUN" in findings(rows)[0]
    assert findings([*rows, {"step": 40, "loss": 0.5, "counted": 1.0}]) == []


def test_the_gain_is_a_share_of_what_knowing_nothing_costs():
    assert gain({"loss": 0.75, "trivial": 1.0, "judge/loss": 3.0, "judge/trivial": 2.0}) == 0.25
    assert gain({"judge/loss": 3.0, "judge/trivial": 2.0}, "judge/") == -0.5
    assert gain({"judge/loss": 3.0}) is None


def test_a_loss_that_compares_items_wants_more_of_them():
    rows = [{"step": step, "loss": 1.31, "trivial": 1.3} for step in range(20, 41)]
    assert "The method has learned nothing yet: increase --batch-size, raise" in findings(
        rows, cls=find("barlow_twins"), takes=["batch_size"]
    )[0]  # fmt: skip
    assert "batch-size" not in findings(rows, cls=find("rotation"), takes=["batch_size"])[0]


def test_waiting_for_data_is_no_finding_where_it_took_no_time():
    rows = [{"step": step, "loss": 0.5, "waiting": 0.4, "seconds": 10.0} for step in range(20, 41)]
    assert findings(rows) == []


@pytest.mark.parametrize(
    ("row", "option", "words"),
    [
        ({"loss": math.nan}, "precision", ", or use --precision 32-true"),
        ({"loss": 0.0, "trivial": 0.0}, "accumulate", " and remove --accumulate"),
        ({"loss": 0.5, "waiting": 0.4, "seconds": 100.0}, "size", ", or lower --size"),
    ],
)
def test_a_remedy_names_no_option_that_the_run_cannot_take(row, option, words):
    rows = [{"step": step, **row} for step in range(20, 41)]
    assert words in findings(rows, takes=[option])[0]
    assert option not in findings(rows)[0]


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("byol", {"lejepa", "simclr"}),
        ("simclr", {"lejepa"}),
        ("skipgram", {"bert"}),
        ("shuffle_and_learn", set()),  # no method of videos does
        ("", set()),  # no method is given
    ],
)
def test_the_doctor_names_methods_of_the_same_kind_of_data(method, wanted):
    rows = [{"step": step, "loss": 0.5, "rank": 1.1, "spread": 0.5} for step in range(20, 41)]
    said, _, others = findings(rows, cls=find(method) if method else None)[0].partition(
        ", or choose a method whose loss compares samples ("
    )
    assert said.endswith("Lower --lr, increase --batch-size" + ("" if wanted else "."))
    named = {name.strip(" ).") for name in others.split(",")} - {""}
    assert wanted <= named and method not in named
    assert all(find(name).family and find(name).compares for name in named)
    kinds = {
        kind for name in (*named, *({method} & {*names()})) for need in find(name).needs.values() for kind in need.kinds
    }
    assert len(kinds) <= 1


def test_a_loss_that_falls_from_far_above_has_not_diverged():
    found = findings([{"step": step, "loss": 60.0 - step, "trivial": 8.0} for step in range(20, 41)])
    assert len(found) == 1 and "the trivial baseline is 8. The method has learned nothing yet" in found[0]


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
    assert findings([row]) == ["3 steps are too few to judge the run. Train longer, with --epochs or --minutes."]
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
    assert found.startswith("The loss is 0 for any prediction, because a batch has nothing to compare.")
    assert not findings([{"step": 1, "loss": 0.3, "trivial": 0.0}, *empty[1:]])  # learned, of one item a step


def test_what_was_better_before_a_training_is_said():
    looks = {"step": 100, "loss": 0.5, "rank": 20.0, "spread": 0.9}
    (said,) = findings([looks | {"knn": 0.61}], began={"rank": 40.0, "spread": 0.9, "knn": 0.62})
    assert said.startswith(
        "k-NN accuracy on a sample was 62.0% before this training and is 61.0% now. Use the encoder that"
    )
    assert findings([looks | {"knn": 0.63}], began={"rank": 80.0, "spread": 0.9, "knn": 0.62}) == []
    (said,) = findings([looks], began={"rank": 41.0, "spread": 0.9})
    assert said.startswith("The effective rank of the features fell from 41 to 20")
    assert findings([looks], began={"rank": 41.0, "spread": 0.9}, taught=True) == []
    assert findings([looks], began={"rank": 39.0, "spread": 0.9}) == []
