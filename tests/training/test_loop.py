import copy
import os
import signal

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from torch import multiprocessing, nn

from tests.conftest import free_port
from tests.training.toys import Rows, Toy
from withhold.errors import WithholdError
from withhold.methods import Optimizer
from withhold.training import Plan, defaults, fit


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_one_step_is_the_optimisers_own():
    """Against the same step written out by hand."""
    method, plain = Toy(), Toy()
    method.noise = plain.noise = 0.0
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1 * 16 / 256, momentum=0.9, nesterov=True)
    plain(Rows().batch(0))["loss"].backward()
    optimizer.step()
    fit(method, Rows(), Plan(steps=1, weight_decay=0.0))
    for a, b in zip(method.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_it_learns_and_writes_down_how(tmp_path):
    told = []
    outcome = fit(
        Toy(), Rows(64), Plan(steps=300, lr=0.1), folder=tmp_path, report=lambda row, steps: told.append((row, steps))
    )
    first, last = outcome.rows[0], outcome.rows[-1]
    assert outcome.finished
    assert last["loss"] < 0.2 * last["trivial"]
    assert first["loss"] > last["loss"]
    assert told[-1] == (last, 300)
    assert last["step"] == 300
    assert (tmp_path / "metrics.csv").read_text().count("\n") == len(outcome.rows) + 1


def test_a_step_is_a_function_of_seed_and_step_alone():
    first, second, third = Toy(), Toy(), Toy()
    fit(first, Rows(), Plan(steps=5, seed=1))
    torch.manual_seed(123)
    torch.rand(7)
    fit(second, Rows(), Plan(steps=5, seed=1))
    fit(third, Rows(), Plan(steps=5, seed=2))
    assert same(first, second)
    assert not same(first, third)


def test_accumulated_parts_make_the_whole_gradient():
    whole, parts = Toy(), Toy()
    for method in (whole, parts):
        method.noise = 0.0
        method.encoder.layers[1] = nn.Identity()  # batch statistics differ by part, as they must
    fit(whole, Rows(), Plan(steps=3))
    fit(parts, Rows(), Plan(steps=3, accumulate=4))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_another_optimiser_comes_with_its_own_learning_rate():
    """AdamW's 1e-3 would leave LARS standing still."""
    for name, lr in {"sgd": 0.1, "adamw": 1e-3, "lars": 0.3}.items():  # the method's own is sgd at 0.1
        rows = fit(Toy(), Rows(256), Plan(steps=10, warmup=0.5, optimizer=name)).rows
        assert max(row["lr"] for row in rows) == pytest.approx(lr)


def test_clipping_bounds_the_step():
    before, method = Toy(), Toy()
    fit(method, Rows(), Plan(steps=1, clip=1e-4, weight_decay=0.0))
    moved = sum((a - b).square().sum() for a, b in zip(method.parameters(), before.parameters(), strict=True)).sqrt()
    assert moved <= 1.9 * 0.1 * 16 / 256 * 1e-4 * 1.01  # Nesterov's first step is 1 + 0.9 gradients


def test_resuming_takes_up_the_journal_and_sees_only_the_rest(tmp_path):
    class Stopper(Rows):
        def iterate(self, start, stop):
            yield from super().iterate(start, min(stop, 6))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Toy(), Stopper(), Plan(steps=10), folder=tmp_path, every=0)
    rest = Rows()
    outcome = fit(Toy(), rest, Plan(steps=10), folder=tmp_path)
    assert rest.asked == [6, 7, 8, 9]
    assert [row["step"] for row in outcome.rows] == list(range(1, 11))
    again = Rows()
    assert fit(Toy(), again, Plan(steps=10), folder=tmp_path).finished
    assert again.asked == []


class Signalled(Rows):
    number = signal.SIGTERM

    def batch(self, step):
        if step == 3:
            os.kill(os.getpid(), self.number)
        return super().batch(step)


class Interrupted(Signalled):
    number = signal.SIGINT


def test_termination_saves_and_returns(tmp_path):
    outcome = fit(Toy(), Signalled(), Plan(steps=1000), folder=tmp_path)
    assert not outcome.finished
    assert outcome.step == 4
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_interrupt_saves_and_stops_what_was_to_follow(tmp_path):
    before = signal.getsignal(signal.SIGINT)  # which a shell ignores for what it runs in the background
    with pytest.raises(KeyboardInterrupt):
        fit(Toy(), Interrupted(), Plan(steps=1000), folder=tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert signal.getsignal(signal.SIGINT) == before
    assert fit(Toy(), Rows(), Plan(steps=1000), folder=tmp_path).finished


class Exploding(Toy):
    def loss(self, predicted, withheld):
        terms = super().loss(predicted, withheld)
        return terms | {"loss": terms["loss"] * (float("nan") if self.seen >= 3 else 1.0)}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(WithholdError, match=r"The loss is not finite at step 4: lower --lr .* is from before it"):
        fit(Exploding(), Rows(), Plan(steps=10), folder=tmp_path, every=0)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["step"] == 3
    assert all(torch.isfinite(value).all() for value in kept["method"].values())


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    other = Toy()
    other.head = nn.Linear(8, 2)
    with pytest.raises(WithholdError, match="is from another configuration"):
        fit(other, Rows(), Plan(steps=2), folder=tmp_path)


def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    del saved["scale"]
    torch.save(saved, path)
    with pytest.raises(WithholdError, match="is from another configuration"):
        fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(WithholdError, match=r"last.ckpt is damaged or not one of ours: delete it"):
        fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    path_bytes = path.read_bytes()

    def full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    from withhold.training import checkpoint

    with pytest.raises(WithholdError, match=r"No space left on device.*free some space"):
        checkpoint.save(path, {})
    assert path.read_bytes() == path_bytes
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_minutes_become_steps_by_the_pace_of_the_first_ones_which_leave_no_trace():
    method, outcome = Toy(), None
    outcome = fit(method, Rows(), Plan(minutes=0.01))
    assert outcome.steps > 10
    again = Toy()
    fit(again, Rows(), Plan(steps=outcome.steps))
    assert same(method, again)


class Game(Toy):
    """Two players on the same rows: one learns the sum, the other to tell it from the truth."""

    optimizer = {"forger": Optimizer("adamw", lr=0.01), "judge": Optimizer("sgd", lr=0.1)}

    def __init__(self):
        super().__init__()
        self.judge = nn.Linear(1, 1)

    def players(self):
        return {"forger": [self.encoder, self.head], "judge": [self.judge]}

    def turn(self, player, batch):
        visible, withheld = self.hide(batch)
        forged = self.judge(self.predict(visible))
        if player == "forger":
            assert not self.judge.weight.requires_grad
            return {"loss": forged.square().mean()}
        assert not self.head.weight.requires_grad
        return {"loss": (forged + 1).square().mean() + (self.judge(withheld) - 1).square().mean()}


def test_players_take_turns_and_leave_each_other_alone():
    game = Game()
    outcome = fit(game, Rows(), Plan(steps=5))
    assert {"forger/loss", "judge/loss"} <= set(outcome.rows[-1])
    assert all(p.requires_grad for p in game.parameters())
    mute = Game()
    mute.optimizer = {"forger": Optimizer("sgd", lr=0.0, weight_decay=0.0), "judge": Optimizer("sgd", lr=0.1)}
    before = copy.deepcopy(mute)
    fit(mute, Rows(), Plan(steps=5))
    assert torch.equal(mute.head.weight, before.head.weight)
    assert not torch.equal(mute.judge.weight, before.judge.weight)


class OwnNorm(nn.BatchNorm1d):
    """Somebody's own batch normalisation, which does more than its base."""

    def forward(self, x):
        return super().forward(x).tanh()


class Normed(Toy):
    def __init__(self):
        super().__init__()
        self.encoder.layers[1] = OwnNorm(8)


class Tabled(Toy):
    """With a table of rows, of which a step touches a few."""

    optimizer = Optimizer("adagrad", lr=0.3, weight_decay=0.0)

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 1, sparse=True)

    def predict(self, visible):
        self.dense = not self.table.sparse
        return super().predict(visible) + self.table((visible[:, 0] > 0).long())


def _train_in_rank(rank, world, port, path):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    torch.set_num_threads(1)
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=world, strategy="ddp_find_unused_parameters_true")
    fabric.launch()
    found = {}
    for kind in (Toy, Game, Normed, Tabled):
        method = kind()
        method.noise = 0.0
        rows = fit(method, Rows(16 // world, rank, world), Plan(steps=8), fabric=fabric).rows
        found[kind.__name__] = method.state_dict(), losses(rows)
    found["dense"] = method.dense
    with pytest.raises(WithholdError) as error:
        fit(Exploding() if rank == 1 else Toy(), Rows(), Plan(steps=4), fabric=fabric)
    found["error"] = str(error.value)
    found["stopped"] = fit(Toy(), Signalled() if rank == 1 else Rows(), Plan(steps=1000), fabric=fabric).step
    torch.save(found, path / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def losses(rows):
    return [value for row in rows for name, value in row.items() if name.endswith("loss")]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes that train together found, each."""
    path = tmp_path_factory.mktemp("ranks")
    multiprocessing.start_processes(_train_in_rank, (2, str(free_port()), path), nprocs=2, start_method="spawn")
    return [torch.load(path / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("kind", [Toy, Game, Normed, Tabled])
def test_two_processes_do_what_one_does_with_twice_the_batch(ranks, kind):
    """Batch normalisation, gradients and games across ranks: rows are split between them, nothing else differs."""
    method = kind()
    method.noise = 0.0
    rows = fit(method, Rows(16), Plan(steps=8)).rows
    for state, journal in (found[kind.__name__] for found in ranks):
        assert journal == pytest.approx(losses(rows), abs=1e-4)
        for key, value in state.items():
            assert torch.allclose(value.float(), method.state_dict()[key].float(), atol=1e-5), key


def test_gradients_of_tables_are_sparse_in_one_process_only(ranks):
    """NCCL does not add sparse ones."""
    alone = Tabled()
    fit(alone, Rows(), Plan(steps=1))
    assert [alone.dense, *(found["dense"] for found in ranks)] == [False, True, True]


def test_a_loss_that_is_not_finite_on_one_rank_stops_all(ranks):
    assert [found["error"] for found in ranks] == 2 * [
        "The loss is not finite at step 4: lower --lr or use --precision 32-true."
    ]


def test_ranks_stop_together_when_one_is_asked_to(ranks):
    assert [found["stopped"] for found in ranks] == [10, 10]  # the next time that they write to the journal


def test_half_precision_with_a_scaled_loss_trains_alike():
    def weights(**options):
        method = Toy()
        fit(method, Rows(), Plan(steps=5), fabric=Fabric(accelerator="cpu", devices=1, **options))
        return method.head.weight.detach()

    scaled = weights(plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))])
    torch.testing.assert_close(scaled, weights(), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("precision", defaults.PRECISIONS)
def test_it_trains_in_every_precision(precision):
    assert fit(Toy(), Rows(), Plan(steps=2), fabric=Fabric(accelerator="cpu", devices=1, precision=precision)).finished
