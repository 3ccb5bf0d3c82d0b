"""The loop: how any method is fitted. Read it from top to bottom."""

import contextlib
import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from withhold.errors import UsageError, WithholdError
from withhold.losses import gather
from withhold.methods import Batch, Method
from withhold.options import Plan
from withhold.training import checkpoint
from withhold.training.journal import Journal, Row
from withhold.training.optimizers import adapt, build, clip, peak_lr, schedule
from withhold.training.ranks import dense_gradients, synchronize_batch_norm
from withhold.training.signals import termination

log = logging.getLogger("withhold")
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it would say, the run says itself


class Batches(Protocol):
    """Where batches come from: a function of the step, so that a resumed run sees what an uninterrupted one did."""

    batch_size: int
    steps_per_epoch: int
    streams: dict[str, Any]

    def iterate(self, start: int, stop: int) -> Iterator[Batch]: ...


@dataclass
class Outcome:
    """What `fit` gives back: the steps done, those planned, and the journal's rows."""

    step: int
    steps: int
    rows: list[Row]

    @property
    def finished(self) -> bool:
        return self.step == self.steps


def fit(
    method: Method,
    batches: Batches,
    plan: Plan,
    *,
    fabric: Fabric | None = None,
    folder: Path | None = None,
    look: Callable[[nn.Module], Row] | None = None,
    report: Callable[[Row, int], None] | None = None,
    every: float = 60.0,
) -> Outcome:
    """Train `method` on `batches`; `folder`, where given, holds its checkpoint and journal, and is resumed from.

    Args:
        look: measures the encoder, about twenty times a run; its numbers enter the journal.
        report: told every row of the journal and the number of steps planned.
        every: seconds between checkpoints.

    Raises:
        WithholdError: a loss that is not finite, or a checkpoint that cannot be read or written.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    method.to(fabric.device)
    for value in (*method.parameters(), *method.buffers()):
        if value.ndim == 4:  # `Module.to` would refuse a method with kernels in time as well
            value.data = value.data.contiguous(memory_format=torch.channels_last)
    method.train()
    if fabric.world_size > 1:
        synchronize_batch_norm(method)
        dense_gradients(method)
    path = folder / "checkpoints" / "last.ckpt" if folder is not None else None
    saved = checkpoint.load(path) if path is not None and path.exists() else None

    if saved is None:
        method.seed(_mix(plan.seed, 0, 0))
        method.prepare(**batches.streams)
    own = method.optimizer if isinstance(method.optimizer, dict) else dict.fromkeys(method.players(), method.optimizer)
    recipes = {player: adapt(own[player], plan.optimizer, plan.lr, plan.weight_decay) for player in method.players()}
    peaks = {player: peak_lr(recipe, batches.batch_size * fabric.world_size) for player, recipe in recipes.items()}
    optimizers = {
        player: build(modules, recipes[player], peaks[player]) for player, modules in method.players().items()
    }
    scaling = fabric.strategy.precision  # of the loss, in float16: its gradient is scaled down before a step
    step, steps = 0, plan.steps
    if saved is not None:
        step, steps = _restore(saved, method, optimizers, scaling, path)
    module = fabric.setup_module(method)
    module.mark_forward_method("turn")

    def turn_all(step: int, steps: int, batch: Batch) -> dict[str, torch.Tensor]:
        """One step of every player; gives the named terms, still on the device."""
        seed = _mix(plan.seed, step, fabric.global_rank)
        torch.manual_seed(seed)  # for dropout and the like inside networks
        method.seed(seed)
        method.progress = step / steps
        parts = _cut(batch, plan.accumulate)
        terms: dict[str, torch.Tensor] = {}
        for player, optimizer in optimizers.items():
            rise_and_fall = schedule(step, steps, max(1, round(plan.warmup * steps)))
            for group in optimizer.param_groups:
                group["lr"] = peaks[player] * rise_and_fall * group["share"]
            with _alone(player, optimizers):
                for i, part in enumerate(parts):
                    with fabric.no_backward_sync(module, enabled=i < len(parts) - 1):
                        with fabric.autocast():
                            scored = module.turn(player, part)
                        fabric.backward(scored["loss"] / len(parts))
                    for name, value in scored.items():
                        name = f"{player}/{name}" if len(optimizers) > 1 else name
                        value = torch.as_tensor(value, dtype=torch.float32, device=fabric.device).detach()
                        terms[name] = terms.get(name, 0) + value / len(parts)
            if plan.clip:
                scaling.unscale_gradients(optimizer)
                clip(optimizer, plan.clip)
            fabric.strategy.optimizer_step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        method.after_step()
        return terms

    if steps is None:
        if plan.minutes is None:
            raise UsageError("A plan needs steps or minutes.")
        steps = _pace(turn_all, batches, method, optimizers, 60 * plan.minutes, fabric)
    log_every = max(1, min(50, steps // 100))
    look_every = max(log_every, math.ceil(steps / 20 / log_every) * log_every)
    journal = Journal(
        folder / "metrics.csv" if folder is not None and fabric.is_global_zero else None, until=step if saved else None
    )
    seconds = journal.rows[-1]["seconds"] if journal.rows else 0.0

    def save() -> None:
        if path is not None and fabric.is_global_zero:
            state = {"step": step, "steps": steps, "method": method.state_dict()}
            state |= {"optimizers": {p: o.state_dict() for p, o in optimizers.items()}, "scale": scaling.state_dict()}
            checkpoint.save(path, state)

    sums: dict[str, torch.Tensor] = {}
    waited, started, saved_at, logged = 0.0, time.perf_counter(), time.perf_counter(), step
    with termination() as terminated:
        stream = batches.iterate(step, steps)
        while step < steps:
            if method.refresh and step and step % batches.steps_per_epoch == 0:
                method.seed(_mix(plan.seed, step, 0))
                method.prepare(**batches.streams)
            asked = time.perf_counter()
            batch = next(stream)
            waited += time.perf_counter() - asked
            for name, value in turn_all(step, steps, batch).items():
                sums[name] = sums.get(name, 0) + value
            step += 1

            # Several ranks must end at the same step: they look whether one was asked to only where they meet.
            if step % log_every == 0 or step == steps or (fabric.world_size == 1 and terminated.is_set()):
                signalled = torch.tensor(float(terminated.is_set()), device=fabric.device)
                here = torch.stack([*sums.values(), signalled]) / (step - logged)
                # Over all ranks, so that each sees the loss that is not finite on one, and none waits for it in vain.
                *averages, ending = gather(here[None]).mean(0).tolist()
                means = dict(zip(sums, averages, strict=True))
                elapsed = time.perf_counter() - started
                seconds += elapsed
                images = (step - logged) * batches.batch_size * fabric.world_size
                row = {
                    "step": step, "epoch": step / batches.steps_per_epoch, "seconds": round(seconds, 3), **means,
                    "items_per_second": images / elapsed, "waiting": waited / elapsed,
                    "lr": next(iter(optimizers.values())).param_groups[0]["lr"],
                }  # fmt: skip
                bad = [name for name, value in means.items() if name.endswith("loss") and not math.isfinite(value)]
                if look is not None and not bad and (step % look_every == 0 or step == steps):
                    row |= look(method.encoder)
                    method.train()
                journal.add(row)
                if report is not None:
                    report(row, steps)
                if bad:
                    raise WithholdError(
                        f"The {bad[0]} is not finite at step {step}: lower --lr or use --precision 32-true"
                        + (f"; the checkpoint {path} is from before it." if path is not None and path.exists() else ".")
                    )
                sums, waited, logged = {}, 0.0, step
                # Only what has just been seen to be finite is kept.
                if time.perf_counter() - saved_at > every or step == steps or ending:
                    save()
                    saved_at = time.perf_counter()
                started = time.perf_counter()
                if ending:
                    break
    return Outcome(step, steps, journal.rows)


def _restore(
    saved: dict[str, Any], method: Method, optimizers: dict, scaling: Any, path: Path | None
) -> tuple[int, int]:
    try:
        method.load_state_dict(saved["method"])
        for player, optimizer in optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][player])
        scaling.load_state_dict(saved["scale"])
        return saved["step"], saved["steps"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise WithholdError(
            f"The checkpoint {path} is from another configuration: repeat the run's own options, or name another --out."
        ) from error


def _mix(seed: int, step: int, rank: int) -> int:
    """One seed from three, well apart for neighbouring values (the mixing step of splitmix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (mixed ^ (mixed >> 31)) >> 1


def _cut(batch: Batch, parts: int) -> list[Batch]:
    """A batch as `parts` smaller ones of nearly equal size."""
    if parts == 1:
        return [batch]
    leaves, form = tree_flatten(batch)
    return [tree_unflatten(part, form) for part in zip(*(leaf.chunk(parts) for leaf in leaves), strict=True)]


@contextlib.contextmanager
def _alone(player: str, optimizers: dict[str, torch.optim.Optimizer]) -> Iterator[None]:
    """While `player` plays, the other players' parameters take no gradient."""
    mine = {id(p) for group in optimizers[player].param_groups for p in group["params"]}
    others = [
        p for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]
        if id(p) not in mine
    ]  # fmt: skip
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _pace(turn_all, batches: Batches, method: Method, optimizers: dict, seconds: float, fabric: Fabric) -> int:
    """How many steps fill what timing leaves of `seconds`: a few are timed, and the state from before is put back."""
    if fabric.is_global_zero:
        log.info("timing a few steps, to see how many fill %g minutes", seconds / 60)
    state = copy.deepcopy((method.state_dict(), {p: o.state_dict() for p, o in optimizers.items()}))
    times = []
    began = time.perf_counter()
    for step, batch in enumerate(batches.iterate(0, 12)):
        asked = time.perf_counter()
        turn_all(step, 1000, batch)["loss" if len(optimizers) == 1 else f"{next(iter(optimizers))}/loss"].item()
        times.append(time.perf_counter() - asked)
        spent = time.perf_counter() - began
        if fabric.world_size == 1 and (spent > 0.2 * seconds or (len(times) > 3 and spent > 0.05 * seconds)):
            break
    method.load_state_dict(state[0])
    for player, optimizer in optimizers.items():
        optimizer.state.clear()
        optimizer.load_state_dict(state[1][player])
    settled = sorted(times[len(times) // 3 :])
    left = seconds - (time.perf_counter() - began)
    return fabric.broadcast(max(1, int(left / settled[len(settled) // 2])))
