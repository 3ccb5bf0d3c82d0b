"""The requirements that every method must meet: one function each, which raises an error that names the problem."""

import inspect
import math
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from withhold import kinds, nets, views
from withhold import methods as registry
from withhold.contract.trial import Trial, require, turns
from withhold.data import Feeder
from withhold.errors import UsageError, WithholdError
from withhold.methods import Method, Range
from withhold.nets.adapters import Adapter
from withhold.options import named
from withhold.pictures import grid
from withhold.runs import build, train
from withhold.training import Plan, fit, prepare
from withhold.training.fabric import make_fabric

Check = Callable[[Trial], None]


def checks(cls: type[Method]) -> list[Check]:
    """The checks that apply to a method. Methods that learn from images are also checked on other sizes and colours."""
    found: list[Check] = [
        card,
        gradients,
        seeds,
        resume,
        learning,
        values,
        odd_batches,
        cut_batches,
        half_precision,
        picture,
    ]
    if any(len(need.kinds) > 1 for need in cls.needs.values()):
        found.append(alternatives)
    with suppress(UsageError):  # an unknown kind of data, which the checks themselves report
        if all(kinds.of(kind).maps for kind in build.kinds(cls, {}).values()):
            found += [grey, sizes]
            if cls.channels != 1 and Trial(cls).default == "convnet":
                found.append(network_for_colour)
    return found


def examine(trial: Trial, debug: bool = False) -> Iterator[tuple[str, float, str]]:
    """Run the checks; yield for each its description, its seconds, and its error message ("" if it passes).

    Args:
        debug: raise unexpected exceptions instead of reporting them.
    """
    for check in checks(trial.cls):
        began, wrong = time.perf_counter(), ""
        try:
            check(trial)
        except WithholdError as error:
            wrong = str(error)
        except Exception as error:
            if debug:
                raise
            wrong = f"{type(error).__name__}: {error} (run with --debug for the traceback)"
        yield (inspect.getdoc(check) or "").split("\n")[0], time.perf_counter() - began, wrong


def card(trial: Trial) -> None:
    """The docstring says what the method withholds and explains every parameter."""
    text = inspect.getdoc(trial.cls) or ""
    require(text.split("\n")[0].endswith("."), "The docstring must begin with a sentence: what the method withholds.")
    options = {option.name for option in named()} | set(inspect.signature(train).parameters)
    for name, parameter in registry.parameters(trial.cls).items():
        require(f"{name}:" in text, f"The docstring must explain the parameter {name} under Args.")
        require(parameter.default is not inspect.Parameter.empty, f"The parameter {name} must have a default.")
        require(parameter.annotation is not Any, f"The parameter {name} must have a type.")
        require(name not in options, f"Rename the parameter {name}: `train` already has an option of that name.")


def gradients(trial: Trial) -> None:
    """The loss is finite, and every weight receives a finite gradient."""
    method, batch = trial.prepared()
    for player, terms in turns(method, batch).items():
        loss = terms["loss"]
        require(loss.ndim == 0, f"The loss must be a scalar, but has the shape {list(loss.shape)}.")
        require(torch.isfinite(loss), f"The loss must be finite, but is {loss.item()}.")
        method.zero_grad()
        loss.backward()
        for module in method.players()[player]:
            for name, weight in module.named_parameters():
                if weight.requires_grad:
                    slope: Any = weight.grad
                    require(slope is not None, f"The weight {name} receives no gradient. Use it, or freeze it.")
                    require(torch.isfinite(slope.to_dense()).all(), f"The gradient of the weight {name} is not finite.")


def seeds(trial: Trial) -> None:
    """The same seed gives the same loss, and a different seed gives a different loss."""
    first, again, other = (trial.losses(seed=seed) for seed in (3, 3, 4))
    require(first == again, "The same seed gives a different loss. Draw all random numbers from self.rng.")
    method, batch = trial.prepared()
    method.seed(3)
    before = method.rng.get_state()
    method.hide(batch)
    if not torch.equal(before, method.rng.get_state()):  # otherwise the method draws no random numbers
        require(first != other, "A different seed gives the same loss, although the method draws from self.rng.")


def resume(trial: Trial) -> None:
    """A run that is killed and resumed gives bit for bit the same result as an uninterrupted run."""
    plan = Plan(steps=6, seed=5)

    class Killed(Exception):
        pass

    class Killer(Feeder):
        def iterate(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
            yield from map(self.batch, range(start, 4))
            raise Killed

    def run(folder: str, feeder: type[Feeder] = Feeder) -> dict[str, Any]:
        method = trial.make()
        fit(method, trial.feed(method, 8, feeder), plan, folder=Path(folder), every=0)
        return method.state_dict()

    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        whole = run(one)
        with suppress(Killed):
            run(other, Killer)
        resumed = run(other)
    for name, value in whole.items():
        same = torch.equal(value, resumed[name]) if isinstance(value, Tensor) else value == resumed[name]
        require(same, f"{name} has a different value after a resume. Keep all state in parameters and buffers.")


def learning(trial: Trial) -> None:
    """The method learns on tiny data within 100 steps.

    `Method.learns` names the term that must improve. The loss must fall below its "trivial" term, if there is one, or
    below its first value; any other term must rise above the mean of its first ten. The mean over ten steps must
    differ by 2 %, as in the monitor. Training stops as soon as it does, to save time.
    """
    method, term = trial.make(), trial.cls.learns
    feeder = trial.feed(method)
    player = next(iter(method.players())) + "/" if len(method.players()) > 1 else ""
    seen: list[float] = []
    bars: list[float] = []

    class Learned(Exception):
        pass

    def report(row: dict[str, float], steps: int) -> None:
        require(player + term in row, f"`learns` names the term {term}, but the loss does not return it.")
        seen.append(row[player + term])
        bars.append(row.get(player + "trivial", seen[0]) if term == "loss" else sum(seen[:10]) / len(seen[:10]))
        now, bar = sum(seen[-10:]), sum(bars[-10:])
        if len(seen) >= 30 and (bar - now if term == "loss" else now - bar) > 0.02 * abs(bar):
            raise Learned

    with suppress(Learned):
        fit(method, feeder, Plan(steps=100), report=report if term else None)
        if term:
            raise WithholdError(f"No learning: {term} goes from {seen[0]:.3g} to {sum(seen[-10:]) / 10:.3g}.")
    samples = next(iter(feeder.streams.values())).of(method.encoder.kind)
    features = method.encoder.eval()(views.to_float(samples.batch(range(64))))
    require(features.std(0).max() > 1e-4, "The encoder has collapsed: it gives all samples the same features.")


def values(trial: Trial) -> None:
    """Every parameter accepts values other than its default."""
    for parameter in registry.parameters(trial.cls).values():
        for value in others(parameter):
            try:
                replace(trial, values={parameter.name: value}).losses()
            except Exception as error:
                raise WithholdError(f"{parameter.name}={value}: {error}") from error


def others(parameter: inspect.Parameter) -> list[Any]:
    """Values for `parameter` other than its default, of the same type and close to it."""
    kind, default = parameter.annotation, parameter.default
    if default is None:  # its type is a union with None
        kind = typing.get_args(kind)[0]
        limits = next((part for part in typing.get_args(kind) if isinstance(part, Range)), None)
        if limits is not None and math.isfinite(limits.least):
            return [limits.least + 1]
    if typing.get_origin(kind) is typing.Literal:
        return [option for option in typing.get_args(kind) if option != default]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default * 2]
    if isinstance(default, float):
        return [default / 2 or 0.1]
    return []


def alternatives(trial: Trial) -> None:
    """The method trains on every kind of data that its streams accept."""
    for kind in {kind for need in trial.cls.needs.values() for kind in need.kinds[1:]}:
        try:
            replace(trial, kind=kind, sources=()).losses()
        except Exception as error:
            raise WithholdError(f"With data of the kind {kind}: {error}") from error


def odd_batches(trial: Trial) -> None:
    """The method trains on a batch of seven samples."""
    trial.losses(batch_size=7)


def cut_batches(trial: Trial) -> None:
    """The loss is a mean over the samples of a batch, or the method declares that it compares them.

    The check fails if the loss of a batch differs from the mean loss of its halves by more than 10 % and by more than
    the random views explain (six standard errors).
    """
    if trial.cls.compares or trial.cls.order:
        return
    method, batch = trial.prepared()
    method.eval()
    first = tree_map(lambda items: items[: len(items) // 2], batch)
    second = tree_map(lambda items: items[len(items) // 2 : len(items) // 2 * 2], batch)

    def losses(batch: dict[str, Any], seed: int) -> Tensor:
        return torch.stack([terms["loss"].detach().float() for terms in turns(method, batch, seed).values()])

    whole = torch.stack([losses(batch, seed) for seed in range(8)])
    halves = torch.stack([(losses(first, seed) + losses(second, seed + 8)) / 2 for seed in range(8, 24, 2)])
    apart, chance = (whole - halves).mean(0).abs(), (whole - halves).std(0) / 8**0.5
    wrong = (apart > 0.1 * whole.mean(0).abs()) & (apart > 6 * chance)
    sentence = f"The loss is {whole.mean(0).tolist()} for a batch and {halves.mean(0).tolist()} for its halves. "
    require(not wrong.any(), sentence + "Make it a mean over samples, or declare `compares = True`.")


def half_precision(trial: Trial) -> None:
    """The method trains in half precision: the encoder runs under autocast, and the loss in float32."""
    method = trial.make()
    halved: list[bool] = []

    def note(*_: Any) -> None:
        if torch.is_grad_enabled():  # without gradients, `prepare` computes features, in float32
            halved.append(torch.is_autocast_enabled("cpu"))

    for part in method.encoder.modules():
        part.register_forward_pre_hook(note)
    fabric = make_fabric(precision="bf16-mixed")
    fit(method, trial.feed(method, 16), Plan(steps=2), fabric=fabric)
    require(halved and all(halved), "The encoder runs in full precision. Leave autocast on in `predict`.")


def picture(trial: Trial) -> None:
    """The method's picture shows its inputs as images, clips or captions."""
    method, batch = trial.prepared(4)
    method.eval()
    with torch.no_grad():
        visible, withheld = method.hide(batch)
        columns = method.picture(visible, withheld, method.predict(visible))
    require(columns, "The picture has no columns. Return at least one that shows the network's input.")
    for name, entry in columns.items():
        if isinstance(entry, Tensor):
            shape = f"The column {name} must be images [n, c, h, w] or clips [n, t, c, h, w], but is {[*entry.shape]}."
            require(entry.ndim in (4, 5) and entry.shape[-3] in (1, 3), shape)
            least, most = entry.min().item(), entry.max().item()
            inside = least >= -1e-4 and most <= 1 + 1e-4
            require(inside, f"The column {name} must have values in [0, 1], but has [{least:.3g}, {most:.3g}].")
    for shown in (columns, method.picture(visible, withheld)):
        require(grid(shown).width > 50, "The picture is empty.")


def grey(trial: Trial) -> None:
    """The method trains on greyscale images, or its error says that it needs colour."""
    try:
        replace(trial, channels=1, sources=()).losses()
    except UsageError as error:  # the method withholds colour
        require("colour" in str(error), f"The error for greyscale images must mention colour, but is: {error}")


def network_for_colour(trial: Trial) -> None:
    """With an encoder for colour images, the method trains on greyscale images, and its picture has one channel."""
    colour = nets.ConvNet(trial.size, channels=3)
    encoder = Adapter(colour.blocks, trial.size, channels=1, inputs=3, mean=[0.1, 0.2, 0.6])
    greys = replace(trial, channels=1, sources=())
    method = registry.build(trial.cls, encoder, trial.values, build.tell(trial.cls, greys.made[1], trial.values))
    feeder = greys.feed(method)
    prepare(method, feeder.streams, 0)
    visible, withheld = method.hide(feeder.batch(0))
    columns = method.picture(visible, withheld, method.predict(visible))
    channels = {entry.shape[1] for entry in columns.values() if isinstance(entry, Tensor)}
    require(channels == {1}, f"The picture of greyscale images must have 1 channel, but has {channels}.")


def sizes(trial: Trial) -> None:
    """The method trains on images of 28 and of 64 pixels."""
    for size in (28, 64):
        replace(trial, size=size).losses(batch_size=4)
