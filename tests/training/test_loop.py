import copy
import math
import os
import platform
import random
import re
import signal
import types

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from safetensors.torch import load_file
from torch import multiprocessing, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.conftest import free_port
from tests.training.toys import Rows, Toy
from withhold import nets, options
from withhold.console import duration
from withhold.errors import UsageError, WithholdError
from withhold.methods import Optimizer
from withhold.orders import Episodes
from withhold.runs.metadata import write_weights
from withhold.training import Plan, checkpoint, fit, prepare


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_a_step_frees_is_kept_for_the_next():
    """A tensor of 48 MiB, as often made and freed, is written to pages that the process has."""
    import resource

    fit(Toy(), Rows(), Plan(steps=1))
    torch.ones(12 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(12 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults * resource.getpagesize() < 2 * 48 * 2**20  # of five times that


def test_it_learns_and_writes_down_how(tmp_path):
    told = []
    outcome = fit(
        Toy(), Rows(64), Plan(steps=300, lr=0.1), folder=tmp_path, report=lambda row, steps: told.append((row, steps))
    )
    first, last = outcome.rows[0], outcome.rows[-1]
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


def test_the_learning_rate_rises_once_though_steps_are_added(monkeypatch, tmp_path):
    monkeypatch.setattr("withhold.training.pace.Deadline.plan", lambda self, step, steps: 400 if step == 12 else steps)
    monkeypatch.setattr("withhold.training.loop.pace", lambda *args: 100)
    rows = fit(Toy(), Rows(), Plan(minutes=1, warmup=0.1), folder=tmp_path).rows
    rates = [row["lr"] for row in rows]
    assert rows[-1]["step"] == 400
    assert max(rates) == rates[9]
    assert min(rates[9:40]) > 0.9 * max(rates)


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
    assert fit(Toy(), again, Plan(steps=10), folder=tmp_path).rows == outcome.rows
    assert again.asked == []


class Signalled(Rows):
    number = signal.SIGTERM

    def batch(self, step):
        if step == 3:
            os.kill(os.getpid(), self.number)
        return super().batch(step)


class Interrupted(Signalled):
    number = signal.SIGINT


def test_termination_saves_and_ends_with_the_status_of_what_it_ended(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        fit(Toy(), Signalled(), Plan(steps=1000), folder=tmp_path)
    assert ended.value.code == 128 + signal.SIGTERM
    assert checkpoint.load(tmp_path / "checkpoints" / "last.ckpt")["step"] == 4
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_interrupt_saves_and_stops_what_was_to_follow(tmp_path):
    before = signal.getsignal(signal.SIGINT)  # which a shell ignores for what it runs in the background
    with pytest.raises(KeyboardInterrupt):
        fit(Toy(), Interrupted(), Plan(steps=1000), folder=tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert signal.getsignal(signal.SIGINT) == before
    assert fit(Toy(), Rows(), Plan(steps=1000), folder=tmp_path).rows[-1]["step"] == 1000


class Exploding(Toy):
    def loss(self, predicted, withheld):
        terms = super().loss(predicted, withheld)
        return terms | {"loss": terms["loss"] * (float("nan") if self.seen >= 3 else 1.0)}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(WithholdError, match=r"not finite at step 4\. Lower --lr\. The checkpoint .* is from before"):
        fit(Exploding(), Rows(), Plan(steps=10), folder=tmp_path, every=0)
    kept = checkpoint.load(tmp_path / "checkpoints" / "last.ckpt")
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
    saved = checkpoint.load(path)
    del saved["scale"]
    checkpoint.save(path, saved)
    with pytest.raises(WithholdError, match="is from another configuration"):
        fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(WithholdError, match=r"last.ckpt is damaged or not a withhold checkpoint. Delete it"):
        fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)


def test_every_changed_bit_of_a_checkpoint_is_found_out(tmp_path):
    path = tmp_path / "last.ckpt"
    checkpoint.save(path, {"weights": torch.randn(40), "step": 3})
    content = path.read_bytes()
    assert torch.equal(checkpoint.load(path)["weights"], torch.load(path, weights_only=True)["weights"])
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(WithholdError, match="is damaged"):
            checkpoint.load(path)


def test_a_checkpoint_of_another_version_or_precision_is_refused(tmp_path, monkeypatch):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    half = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    with pytest.raises(WithholdError, match=r"made with --precision 32-true, but this run has bf16-mixed\. Use"):
        fit(Toy(), Rows(), Plan(steps=4), folder=tmp_path, fabric=half)
    monkeypatch.setattr("withhold.__version__", "9.9")
    with pytest.raises(WithholdError, match=r"is from withhold \d.*, but this is 9\.9\. Resume with that version"):
        fit(Toy(), Rows(), Plan(steps=4), folder=tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    fit(Toy(), Rows(), Plan(steps=2), folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    path_bytes = path.read_bytes()

    def full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WithholdError, match=r"No space left on device.*Free some space"):
        checkpoint.save(path, {})
    assert path.read_bytes() == path_bytes
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


@pytest.fixture
def clock(monkeypatch):
    """The time that the loop and its pace see: it stands still but for what adds to its `now`."""
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    for module in ("loop", "pace"):
        monkeypatch.setattr(f"withhold.training.{module}.time", clock)
    return clock


class Slow(Toy):
    """A step takes a second of a `clock`."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def after_step(self):
        super().after_step()
        self.clock.now += 1


@pytest.mark.parametrize(("takes", "steps"), [(0.1, [10, *range(20, 201, 10)]), (1.0, [10, *range(60, 201, 20)])])
def test_looking_takes_a_twentieth_of_the_time_and_the_last_step_is_looked_at(clock, takes, steps):
    def look(encoder):
        clock.now += takes
        return {"rank": 1.0}

    rows = fit(Slow(clock), Rows(), Plan(steps=200), look=look).rows
    looked = [row["step"] for row in rows if "rank" in row]
    assert looked == steps
    assert len(looked) * takes <= 200 / 20
    assert rows[-1]["seconds"] == 200  # trained


def test_a_look_leaves_no_trace_in_what_is_learned():
    def look(encoder):
        encoder.eval()
        with torch.no_grad():
            return {"rank": encoder(torch.randn(8, 4)).sum().item()}

    seen, unseen = Toy(), Toy()
    rows = fit(seen, Rows(), Plan(steps=60), look=look).rows
    plain = fit(unseen, Rows(), Plan(steps=60)).rows
    assert same(seen, unseen)
    assert sum("rank" in row for row in rows) > 1
    assert [row["loss"] for row in rows] == [row["loss"] for row in plain]


def test_what_is_left_of_the_minutes_is_trained_with_time_for_the_looks(clock, caplog):
    """Of a minute 42 s are left; timing takes four of them, and looking a twentieth of the others."""
    with caplog.at_level("INFO"):
        outcome = fit(Slow(clock), Rows(), Plan(minutes=1), seconds=42.0, look=lambda encoder: {"rank": 1.0})
    assert outcome.steps == 36
    assert "36 steps fit (7.2 epochs); 20 epochs would take about 2 min 47 s" in caplog.text


def test_what_is_prepared_once_counts_once(clock, caplog):
    """Of a minute 20 s are prepared once; the others hold 36 steps, of which two were timed."""

    class Matching(Slow):
        refresh = 10

        def prepare(self, rows):
            if not self.once:
                self.once = 20.0
                clock.now += 20

    with caplog.at_level("INFO"):
        fit(Matching(clock), Rows(), Plan(minutes=1))
    steps = int(re.search(r"(\d+) steps fit", caplog.text)[1])
    assert 34 <= steps <= 38
    wait = 20 + 40 * 20 / (steps / 5)
    assert f"20 epochs would take about {duration(wait)}" in caplog.text


def test_a_slow_first_step_is_not_the_pace_of_the_others(clock):
    """Of twelve seconds the first step takes five, and the second one is the last that is timed."""

    class Starting(Slow):
        def after_step(self):
            super().after_step()
            clock.now += 4 if clock.now < 2 else 0

    assert fit(Starting(clock), Rows(), Plan(minutes=0.2)).steps == 6


@pytest.mark.parametrize(("changes", "to", "waits"), [(30, 3.0, 60), (6, 0.25, 45), (40, 0.25, 60 - 0.75 * 16)])
def test_steps_are_planned_anew_where_the_pace_changes(clock, caplog, changes, to, waits):
    """A minute; from a step on steps take longer, or less. In its second half a training does not get longer."""

    class Changing(Slow):
        def after_step(self):
            super().after_step()
            clock.now += to - 1 if self.seen > changes else 0

    with caplog.at_level("INFO"):
        outcome = fit(Changing(clock), Rows(), Plan(minutes=1))
    assert clock.now == pytest.approx(waits, abs=3)
    assert outcome.rows[-1]["step"] == outcome.steps
    assert ("at this pace" in caplog.text) == (changes < 40)


def test_minutes_become_steps_by_the_pace_of_the_first_ones_which_leave_no_trace(clock):
    method, again = Slow(clock), Slow(clock)
    outcome = fit(method, Rows(), Plan(minutes=1))
    assert outcome.steps > 10
    fit(again, Rows(), Plan(steps=outcome.steps))
    assert same(method, again)


def numbers(seed=None):
    """One of each global generator."""
    if seed is not None:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
    return [torch.rand(()).item(), np.random.rand(), random.random()]  # noqa: NPY002


class Prepared(Toy):
    """Looks at its data every three steps by whatever draws numbers, and remembers a feature of every item."""

    refresh = 3

    def __init__(self):
        super().__init__()
        self.bank = nets.MemoryBank(0, 8)
        self.register_buffer("drawn", torch.zeros(3))
        self.asked = []

    def prepare(self, rows):
        self.asked.append(int(self.seen))
        self.bank = nets.MemoryBank(len(rows), 8)
        self.drawn.copy_(torch.tensor(numbers()))

    def loss(self, predicted, withheld):
        return {"loss": ((predicted - withheld - self.drawn.sum()) ** 2).mean() + self.bank.features[0].sum() * 0}


class Items(Rows):
    """Rows of which there are fifty, in an order that a method decides."""

    streams = {"rows": range(50)}


def test_preparation_is_a_function_of_the_seed_and_leaves_the_callers_numbers_alone():
    found = []
    for seed, other in ((1, 5), (1, 6), (2, 5)):
        method = Prepared()
        numbers(other)
        expected = numbers()
        numbers(other)
        prepare(method, Items.streams, seed)
        assert numbers() == expected
        found.append(method)
    assert same(found[0], found[1])
    assert not torch.equal(found[0].drawn, found[2].drawn)
    assert found[0].drawn.unique().numel() == 3


def test_preparation_runs_again_after_so_many_steps_and_batches_are_asked_for_anew():
    method, items, starts = Prepared(), Items(), []
    iterate = items.iterate
    items.iterate = lambda start, stop: starts.append(start) or iterate(start, stop)
    fit(method, items, Plan(steps=8))
    assert method.asked == [0, 3, 6]
    assert starts == [0, 3, 6]
    assert items.asked == list(range(8))


@pytest.mark.parametrize("killed", range(1, 7))
def test_a_memory_as_long_as_the_data_resumes_exactly(tmp_path, killed):
    """Before, at and after the step in which it is made anew."""

    class Killer(Items):
        def iterate(self, start, stop):
            for step in range(start, stop):
                if step == killed:
                    raise KeyboardInterrupt
                yield self.batch(step)

    whole, cut, resumed = Prepared(), Prepared(), Prepared()
    fit(whole, Items(), Plan(steps=7))
    with pytest.raises(KeyboardInterrupt):
        fit(cut, Killer(), Plan(steps=7), folder=tmp_path, every=0)
    fit(resumed, Items(), Plan(steps=7), folder=tmp_path)
    assert len(resumed.bank.features) == 50
    assert resumed.asked == [step for step in (3, 6) if step >= killed]
    assert same(whole, resumed)


def test_a_memory_as_long_as_the_data_is_saved_and_loaded(tmp_path):
    method, other = Prepared(), Prepared()
    fit(method, Items(), Plan(steps=2))
    write_weights(tmp_path / "method.safetensors", method, {})
    other.load_state_dict(load_file(tmp_path / "method.safetensors"))
    assert same(method, other)
    other.head = nn.Linear(8, 3)
    with pytest.raises(RuntimeError, match="size mismatch"):  # only what is empty takes another size
        other.load_state_dict(method.state_dict())


@pytest.mark.parametrize(("refresh", "steps"), [(None, 67), (20, 35)])
def test_minutes_count_what_preparation_takes_each_time(clock, refresh, steps):
    """Of ten seconds it takes two and timing five steps 0.55; a step and its batch 0.11, or 0.21 with its share."""

    class Preparing(Prepared):
        def prepare(self, rows):
            super().prepare(rows)
            clock.now += 2.0

        def after_step(self):
            super().after_step()
            clock.now += 0.1

    class Fetched(Items):
        def batch(self, step):
            clock.now += 0.01
            return super().batch(step)

    method = Preparing()
    method.refresh = refresh
    assert fit(method, Fetched(), Plan(minutes=10 / 60)).steps == steps


class Comparing(Toy):
    compares = True


def test_a_loss_that_compares_items_gets_all_of_them_or_none():
    with pytest.raises(UsageError, match=r"toy compares the items of a batch .* Remove --accumulate"):
        fit(Comparing(), Rows(), Plan(steps=1, accumulate=2))
    with pytest.raises(UsageError, match="Give a --batch-size of 2 or more"):
        fit(Comparing(), Rows(1), Plan(steps=1))
    fit(Comparing(), Rows(), Plan(steps=1))


def test_parts_are_equal_and_hold_whole_episodes():
    with pytest.raises(UsageError, match=r"split a batch of 10 items into equal parts\. .* multiple of 4"):
        fit(Toy(), Rows(10), Plan(steps=1, accumulate=4))
    method = Toy()
    method.order = {"rows": Episodes(2, 1, 1)}
    with pytest.raises(UsageError, match=r"split a batch of 12 items into equal parts\. .* multiple of 8"):
        fit(method, Rows(12), Plan(steps=1, accumulate=2))


class Game(Toy):
    """Two players on the same rows: one learns the sum, the other to tell it from the truth."""

    optimizer = {"forger": Optimizer("adamw", lr=0.01), "judge": Optimizer("sgd", lr=0.1)}

    def __init__(self):
        super().__init__()
        self.judge = nn.Linear(1, 1)

    def players(self):
        return {"forger": [self.encoder, self.head], "judge": [self.judge]}

    def turn(self, player, batch, handed):
        if player == "forger":
            assert not self.judge.weight.requires_grad
            assert not handed
            visible, withheld = self.hide(batch)
            made = self.predict(visible)
            handed |= {"made": made.detach(), "true": withheld}
            return {"loss": self.judge(made).square().mean()}
        assert not self.head.weight.requires_grad
        assert torch.equal(handed["true"], batch["rows"].sum(1, keepdim=True))  # its own part's
        loss = (self.judge(handed["made"]) + 1).square().mean() + (self.judge(handed["true"]) - 1).square().mean()
        handed["judged"] = self.judge(handed["true"]).detach()
        return {"loss": loss}


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


class Third(Game):
    """A player more, to whom both others hand something."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.optimizer = self.optimizer | {"scaler": Optimizer("sgd", lr=0.1)}

    def players(self):
        return super().players() | {"scaler": [nn.ParameterList([self.scale])]}

    def turn(self, player, batch, handed):
        if player == "scaler":
            return {"loss": (self.scale * handed["made"] - handed["judged"]).square().mean()}
        return super().turn(player, batch, handed)


@pytest.mark.parametrize("kind", [Game, Third])
def test_what_players_hand_on_is_that_of_their_part_of_the_batch(kind):
    fit(kind(), Rows(), Plan(steps=2, accumulate=4))


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
    for kind in (Toy, Game, Third, Normed, Tabled):
        method = kind()
        method.noise = 0.0
        rows = fit(method, Rows(16 // world, rank, world), Plan(steps=8), fabric=fabric).rows
        found[kind.__name__] = method.state_dict(), losses(rows)
    found["dense"] = method.dense
    with pytest.raises(WithholdError) as error:
        fit(Exploding() if rank == 1 else Toy(), Rows(), Plan(steps=4), fabric=fabric)
    found["error"] = str(error.value)
    found["stopped"] = []
    batches = Signalled() if rank == 1 else Rows()
    with pytest.raises(SystemExit):
        fit(Toy(), batches, Plan(steps=1000), fabric=fabric, report=lambda row, _: found["stopped"].append(row["step"]))
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


@pytest.mark.parametrize("kind", [Toy, Game, Third, Normed, Tabled])
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
    assert [found["error"] for found in ranks] == 2 * ["The loss is not finite at step 4. Lower --lr."]


def test_ranks_stop_together_when_one_is_asked_to(ranks):
    assert [found["stopped"] for found in ranks] == [[10], [10]]  # the next time that they write to the journal


def test_half_precision_with_a_scaled_loss_trains_alike():
    def weights(**options):
        method = Toy()
        fit(method, Rows(), Plan(steps=5), fabric=Fabric(accelerator="cpu", devices=1, **options))
        return method.head.weight.detach()

    scaled = weights(plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))])
    torch.testing.assert_close(scaled, weights(), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("precision", options.PRECISIONS)
def test_it_trains_in_every_precision(precision):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    assert math.isfinite(fit(Toy(), Rows(), Plan(steps=2), fabric=fabric).rows[-1]["loss"])


def test_between_logging_points_no_number_goes_to_the_device():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Sent(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            sent.append(func.__name__) if func is torch.ops.aten.lift_fresh.default else None
            return func(*args, **(kwargs or {}))

    class Numbers(Toy):
        def loss(self, predicted, withheld):
            return super().loss(predicted, withheld) | {"trivial": 1.5, "whole": 2}

    sent, told = [], []
    with Sent():
        rows = fit(Numbers(), Rows(), Plan(steps=400), report=lambda row, steps: told.append(len(sent))).rows
    assert all(row["trivial"] == 1.5 and row["whole"] == 2 for row in rows)
    assert len(rows) == 100  # every fourth step
    assert set(np.diff(told).tolist()) == {3}  # two numbers, and whether it was asked to end


def test_weights_that_are_made_anew_have_no_past_in_the_optimiser():
    """A head that starts anew steps as far as one that never was, and the rest goes on."""

    class Anew(Toy):
        optimizer = Optimizer("adamw", lr=0.1)
        refresh = 5

        def prepare(self, rows):
            nn.init.zeros_(self.head.weight)

    states = []

    def seen(optimizer, *args):
        states.append({id(p): int(state["step"]) for p, state in optimizer.state.items()})

    method, hook = Anew(), register_optimizer_step_post_hook(seen)
    try:
        fit(method, Items(), Plan(steps=7))
    finally:
        hook.remove()
    assert states[-1][id(method.head.weight)] == 2
    assert states[-1][id(method.head.bias)] == 7
