"""The training loop of all methods."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from withhold.console import counted, duration
from withhold.data import Feeder
from withhold.errors import UsageError, WithholdError
from withhold.losses import gather
from withhold.methods import Batch, Method
from withhold.options import Plan
from withhold.training import checkpoint, defaults
from withhold.training.allocator import keep_memory
from withhold.training.best import Best
from withhold.training.fabric import make_fabric
from withhold.training.journal import Journal, Row
from withhold.training.optimizers import adapt, build, clip, peak_lr, schedule
from withhold.training.pace import Deadline, pace
from withhold.training.randomness import mix, prepare
from withhold.training.ranks import dense_gradients, synchronize_batch_norm
from withhold.training.signals import termination
from withhold.training.turns import Turn, alone, check, cut

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOOKS = 0.05
"""The share of the training time that the monitor may take."""

log = logging.getLogger("withhold")


@dataclass
class Outcome:
    """The result of `fit`: the number of steps, the journal's rows, and the step whose weights are kept.

    `kept` is None if these are the last weights.
    """

    steps: int
    rows: list[Row]
    kept: int | None = None


def fit(
    method: Method,
    batches: Feeder,
    plan: Plan,
    *,
    seconds: float | None = None,
    fabric: "Fabric | None" = None,
    folder: Path | None = None,
    look: Callable[[nn.Module], Row] | None = None,
    best: Best | None = None,
    report: Callable[[Row, int], None] | None = None,
    every: float = 60.0,
) -> Outcome:
    """Train `method` on `batches`; `folder`, if given, holds its checkpoint and journal, and training resumes from it.

    Args:
        seconds: time left of the plan's minutes; None for all of them.
        look: measures the encoder at the end and up to twenty times before, within 5 % of the training time; its
            numbers are added to the journal.
        best: keeps the best state that `look` measures, which is restored at the end.
        report: called with every row of the journal and the planned number of steps.
        every: seconds between checkpoints.

    Raises:
        UsageError: the plan does not suit the method.
        WithholdError: a loss that is not finite, or a checkpoint that cannot be read or written.
        KeyboardInterrupt, SystemExit: stopped by Ctrl-C or SIGTERM, after the checkpoint is saved.
    """
    keep_memory()
    fabric = fabric or make_fabric()
    check(method, batches.batch_size, fabric.world_size, plan.accumulate)
    method.to(fabric.device)
    channels_last(method)
    method.train()
    if fabric.world_size > 1:
        synchronize_batch_norm(method)
        dense_gradients(method)
    path = folder / "checkpoints" / "last.ckpt" if folder is not None else None
    saved = checkpoint.load(path) if path is not None and path.exists() else None

    began = time.perf_counter()
    if saved is None:
        prepare(method, batches.streams, mix(plan.seed, 0, 0))
        if best is not None:
            best.see(0, best.began, method)
    prepared = time.perf_counter() - began
    own = method.optimizer if isinstance(method.optimizer, dict) else dict.fromkeys(method.players(), method.optimizer)
    recipes = {player: adapt(own[player], plan.optimizer, plan.lr, plan.weight_decay) for player in method.players()}
    peaks = {player: peak_lr(recipe, batches.batch_size * fabric.world_size) for player, recipe in recipes.items()}
    optimizers = {
        player: build(modules, recipes[player], peaks[player], plan.encoder_lr, plan.layer_decay)
        for player, modules in method.players().items()
    }
    scaling = fabric.strategy.precision  # scales the loss in float16; gradients are scaled back before a step
    step, steps, warmup = 0, plan.steps, None
    deadline: Deadline | None = None
    if saved is not None:
        step, steps, warmup = checkpoint.restore(saved, method, optimizers, scaling, path)
        steps = max(steps, plan.steps or 0)  # more than before for a finished run with a longer budget
    turn = Turn(method)
    module = fabric.setup_module(turn)

    def turn_all(step: int, steps: int, batch: Batch) -> dict[str, Any]:
        """Do one step of every player, and return the named terms: tensors stay on the device, numbers stay numbers.

        Copying a number to a GPU would wait for the GPU in every step.
        """
        seed = mix(plan.seed, step, fabric.global_rank)
        torch.manual_seed(seed + 1)  # for random layers inside networks, such as dropout; not the numbers of the views
        method.seed(seed)
        method.progress = step / steps
        parts = cut(batch, plan.accumulate)
        handed: list[dict[str, Any]] = [{} for _ in parts]
        terms: dict[str, Any] = {}
        for player, optimizer in optimizers.items():
            warming = max(1, round(plan.warmup * steps))
            # If steps are added, the learning rate must not rise a second time.
            rise_and_fall = schedule(recipes[player], step, steps, min(warming, warmup or warming))
            for group in optimizer.param_groups:
                group["lr"] = peaks[player] * rise_and_fall * group["share"]
            with alone(player, optimizers):
                for i, part in enumerate(parts):
                    turn.handed = handed[i]
                    with fabric.no_backward_sync(module, enabled=i < len(parts) - 1):
                        with fabric.autocast():
                            scored = module(player, part)
                        fabric.backward(scored["loss"] / len(parts))
                    for name, value in scored.items():
                        name = f"{player}/{name}" if len(optimizers) > 1 else name
                        value = value.detach().float() if isinstance(value, torch.Tensor) else value
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
        if fabric.is_global_zero:
            log.info("timing a few steps to find out how many fit into %s", duration(60 * plan.minutes))
        timed, budget = batches.iterate(0, 12), (60 * plan.minutes if seconds is None else seconds)
        end = began + budget
        budget /= 1 if look is None else 1 + LOOKS
        fits = fabric.broadcast(pace(turn_all, timed, method, optimizers, budget, prepared))
        steps = min(fits, plan.most or fits)
        deadline = Deadline(end, plan.most, method.refresh or 0)
        if fabric.is_global_zero:
            passes, more = fits / batches.steps_per_epoch, ""
            if steps < fits:
                more = f"; training ends after {counted(steps, 'step')}, enough for this few labels"
            elif not defaults.enough(steps, passes):
                wait = duration(method.once + (60 * plan.minutes - method.once) * defaults.PASSES / passes)
                more = f"; {defaults.PASSES} epochs would take about {wait}"
            fit = "fits" if fits == 1 else "fit"
            log.info("%s %s (%.1f epochs)%s", counted(fits, "step"), fit, passes, more)
    warmup = warmup or max(1, round(plan.warmup * steps))
    log_every = max(1, min(50, steps // 100))
    look_every = max(log_every, math.ceil(steps / 20 / log_every) * log_every)
    journal = Journal(
        folder / "metrics.csv" if folder is not None and fabric.is_global_zero else None, until=step if saved else None
    )
    trained = journal.rows[-1]["seconds"] if journal.rows else 0.0

    def save() -> None:
        if path is not None and fabric.is_global_zero:
            state = {
                "step": step,
                "steps": steps,
                "warmup": warmup,
                "method": method.state_dict(),
                "precision": scaling.precision,
            }
            state |= {"optimizers": {p: o.state_dict() for p, o in optimizers.items()}, "scale": scaling.state_dict()}
            checkpoint.save(path, state)

    sums: dict[str, Any] = {}
    # Counted from `began`, the first checkpoint comes early if preparing took long.
    waited, started, saved_at, logged = 0.0, time.perf_counter(), began, step
    looked = look_took = 0.0
    with termination() as terminated:
        stream = batches.iterate(step, steps)
        while step < steps:
            if method.refresh and step and step % method.refresh == 0:
                method.progress = step / steps
                versions: dict[Any, int] = {weight: weight._version for weight in method.parameters()}
                prepare(method, batches.streams, mix(plan.seed, step, 0))
                for optimizer in optimizers.values():  # forget the state of weights that `prepare` replaced
                    for weight in [weight for weight in optimizer.state if weight._version != versions[weight]]:
                        del optimizer.state[weight]
                stream = batches.iterate(step, steps)  # the method may have changed the order of items
            asked = time.perf_counter()
            batch = next(stream)
            waited += time.perf_counter() - asked
            for name, value in turn_all(step, steps, batch).items():
                sums[name] = sums.get(name, 0) + value
            step += 1

            # All ranks must end at the same step, so with several ranks the signal is only checked at logging points.
            due = best is not None and best.due(step, steps)
            if step % log_every == 0 or step == steps or due or (fabric.world_size == 1 and terminated.is_set()):
                signalled = float(terminated.is_set())
                sent = [
                    torch.as_tensor(v, dtype=torch.float32, device=fabric.device) for v in (*sums.values(), signalled)
                ]
                here = torch.stack(sent) / (step - logged)
                # Averaged over ranks: all of them stop at a loss that is not finite on one, and none waits forever.
                *averages, ending = gather(here[None]).mean(0).tolist()
                means = dict(zip(sums, averages, strict=True))
                elapsed = time.perf_counter() - started
                trained += elapsed
                images = (step - logged) * batches.batch_size * fabric.world_size
                row = {
                    "step": step, "epoch": step / batches.steps_per_epoch, "seconds": round(trained, 3), **means,
                    "items_per_second": images / elapsed, "waiting": waited / elapsed,
                    "lr": next(iter(optimizers.values())).param_groups[0]["lr"],
                }  # fmt: skip
                bad = [name for name, value in means.items() if name.endswith("loss") and not math.isfinite(value)]
                in_time = looked + 2 * look_took <= LOOKS * trained  # time for this look and the last one
                if look is not None and not bad and (step == steps or due or (step % look_every == 0 and in_time)):
                    began = time.perf_counter()
                    row |= look(method.encoder)
                    look_took = time.perf_counter() - began
                    looked += look_took
                    method.train()
                    if best is not None and (due or step == steps):
                        best.see(step, row, method)
                journal.add(row)
                if report is not None:
                    report(row, steps)
                if bad:
                    raise WithholdError(
                        f"The {bad[0]} is not finite at step {step}. Lower --lr"
                        + (" or use --precision 32-true." if scaling.precision != "32-true" else ".")
                        + (f" The checkpoint {path} is from before." if path is not None and path.exists() else "")
                    )
                sums, waited, logged = {}, 0.0, step
                # Saved only after the check that the loss is finite.
                if time.perf_counter() - saved_at > every or step == steps or ending:
                    save()
                    saved_at = time.perf_counter()
                if deadline is not None and step < steps:
                    planned, steps = steps, fabric.broadcast(deadline.plan(step, steps))
                    stream = batches.iterate(step, steps) if steps > planned else stream
                started = time.perf_counter()
                if ending:
                    fabric.barrier()
                    terminated.set()  # on every rank, whichever got the signal
                    break
    kept = None
    if best is not None and step == steps:
        kept = best.restore(method, fabric.broadcast(journal.rows[-1] if journal.rows else {}))
    return Outcome(steps, journal.rows, kept)


def channels_last(method: nn.Module) -> None:
    """Convert the weights of 2-d convolutions to channels_last; `Module.to` refuses methods with 3-d ones as well."""
    for value in (*method.parameters(), *method.buffers()):
        if value.ndim == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)
