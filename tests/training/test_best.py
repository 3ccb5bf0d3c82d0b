"""The best checkpoint of a training that continues an earlier one."""

import pytest
import torch

from tests.training.toys import Rows, Toy
from withhold.training import Best, Plan, fit

BEGAN = {"rank": 5.0, "spread": 0.5, "knn": 0.6}


def run(folder, seen, steps=12, **options):
    """Train where k-NN accuracies are what `seen` says of each quarter; at other looks, a matter of time, 0.99.

    Gives what came out, the method, and its weights at each quarter.
    """
    method, states = Toy(), {}

    def look(encoder):
        quarter, rest = divmod(int(method.seen), steps // 4)
        if not rest:
            states[quarter - 1] = {name: value.clone() for name, value in method.state_dict().items()}
        knn = 0.99 if rest else seen[quarter - 1]
        return {"rank": 4.0, "spread": 0.5} | ({} if seen[0] is None else {"knn": knn})

    best = Best(folder / "best.ckpt", BEGAN if seen[0] is not None else {"rank": 5.0, "spread": 0.5})
    outcome = fit(method, Rows(), Plan(steps=steps), folder=folder, look=look, best=best, **options)
    return outcome, method, states


def same(state, method):
    return all(torch.equal(value, state[name]) for name, value in method.state_dict().items())


def test_the_best_of_the_quarters_is_kept(tmp_path):
    outcome, method, states = run(tmp_path, [0.65, 0.7, 0.66, 0.67])
    assert {row["step"] for row in outcome.rows if "knn" in row} >= {3, 6, 9, 12}
    assert outcome.kept == 6
    assert same(states[1], method)


def test_the_start_is_kept_where_nothing_was_gained(tmp_path):
    outcome, method, _ = run(tmp_path, [0.3, 0.4, 0.5, 0.55])
    assert outcome.kept == 0
    assert same(Toy().state_dict(), method)


def test_the_last_is_kept_where_chance_could_tell_them_apart(tmp_path):
    outcome, method, states = run(tmp_path, [0.6, 0.66, 0.64, 0.65])
    assert outcome.kept is None
    assert same(states[3], method)


def test_without_labels_that_it_is_not_told_the_last_is_kept(tmp_path):
    outcome, method, states = run(tmp_path, [None] * 4)
    assert outcome.kept is None
    assert same(states[3], method)
    assert not (tmp_path / "best.ckpt").exists()


def test_a_run_that_was_cut_off_keeps_the_same(tmp_path):
    class Cut(Exception):
        pass

    def cut(row, steps):
        if row["step"] == 9:
            raise Cut

    whole, method, _ = run(tmp_path / "whole", [0.65, 0.7, 0.66, 0.5])
    with pytest.raises(Cut):
        run(tmp_path / "cut", [0.65, 0.7, 0.66, 0.5], report=cut, every=0.0)
    again, other, _ = run(tmp_path / "cut", [0.65, 0.7, 0.66, 0.5])
    assert again.kept == whole.kept == 6
    assert same(method.state_dict(), other)


def test_a_run_that_was_cut_off_after_its_last_checkpoint_keeps_the_same(tmp_path):
    seen = [0.65, 0.7, 0.66, 0.69]
    assert run(tmp_path, seen)[0].kept is None
    assert run(tmp_path, seen)[0].kept is None
