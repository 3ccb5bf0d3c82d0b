"""How a run is trained: one set of options, which the command line, a run's configuration and its report read."""

import inspect
import re
import typing
from dataclasses import Field, dataclass, fields

from withhold.errors import UsageError, suggestion

OPTIMIZERS = ("adamw", "sgd", "lars", "adagrad")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""What a run may compute in; weights are float32 in all of them."""


@dataclass(frozen=True)
class Plan:
    """How to train. What is None is the method's own.

    Args:
        steps: optimiser steps; None to fill `minutes`.
        minutes: how long a person waits, from reading the data to the report; the pace of the first steps says how
            many fit.
        most: steps at most, where minutes say how many.
        optimizer: `adamw`, `sgd`, `lars` or `adagrad`; by default the method's own.
        lr: peak learning rate at 256 items a step, which is scaled with the batch; by default the method's own.
        weight_decay: of weights, not of biases and normalisation; by default the method's own.
        warmup: share of the steps in which the learning rate rises.
        clip: largest joint norm of the gradients; 0 for no limit.
        accumulate: parts into which a batch is cut to save memory.
        encoder_lr: share of the learning rate that the encoder gets; by default 0.1 of published weights,
            0.3 of an earlier run's, else 1.
        layer_decay: how the learning rate falls from each stage of the encoder to the one before it; by default 0.8
            of published weights, 0.9 of an earlier run's, else 1.
        seed: of weights, order and views.
    """

    steps: int | None = None
    minutes: float | None = None
    most: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    warmup: float = 0.1
    clip: float = 0.0
    accumulate: int = 1
    encoder_lr: float | None = None
    layer_decay: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Options(Plan):
    """What a person may set for a training. What is None is chosen from the data, the budget and the hardware.

    Args:
        encoder: `convnet`, `resnet18`, `vit-tiny`, `hf:NAME`, `timm:NAME`, `./mine.py` ..., or a run's folder, whose
            encoder it goes on from; by default what suits the method and the hardware.
        pretrained: start from the encoder's published weights.
        size: height and width of the input in pixels; by default those of the images.
        epochs: passes over the data, instead of minutes; with 0 a method only prepares itself: `finetune`
            fits its head.
        batch_size: items a step, on each device.
        labels: a file with the labels of some items: a csv table with the columns path and label; several files where
            it is named several times.
        devices: processes on this machine.
        nodes: machines, started by torchrun or SLURM.
        precision: `32-true`, `bf16-mixed` or `16-mixed`; by default what the hardware is fast at.
        strict: a file that cannot be read is an error; it is left out and listed otherwise.
        no_report: end without report.html, which `withhold report RUN` draws at any time.

    Raises:
        UsageError: a value that makes no sense, or two budgets.
    """

    encoder: str | None = None
    pretrained: bool = False
    size: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    labels: str | list[str] | None = None
    devices: int = 1
    nodes: int = 1
    precision: str | None = None
    strict: bool = False
    no_report: bool = False

    def __post_init__(self):
        if self.epochs is not None and self.minutes is not None:
            raise UsageError("--epochs and --minutes are two budgets: give one of them.")
        for name in ("minutes", "batch_size", "size", "lr", "layer_decay"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"The {name.replace('_', ' ')} must be above 0, not {value:g}.")
        leasts = dict.fromkeys(("devices", "nodes", "accumulate"), 1)
        leasts |= dict.fromkeys(("epochs", "seed", "clip", "weight_decay", "encoder_lr"), 0)
        for name, least in leasts.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"The {name.replace('_', ' ')} must be at least {least}, not {value:g}.")
        for name, known in {"precision": PRECISIONS, "optimizer": OPTIMIZERS}.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise UsageError(f"There is no {name} {value!r}: {suggestion(value, known)}")

    def words(self) -> list[str]:
        """The options that differ from the defaults, as on the command line."""
        words = []
        for option in named():
            value = getattr(self, option.name)
            if value is True:
                words.append(flag(option))
            elif isinstance(value, list):
                words += [word for each in value for word in (flag(option), each)]
            elif value != option.default:
                words += [flag(option), f"{value:g}" if isinstance(value, float) else str(value)]
        return words


def named() -> list[Field]:
    """The options that a person may name; a budget in steps and the warm-up follow from others."""
    inherited = {option.name for option in fields(Plan)}
    options = sorted(fields(Options), key=lambda option: option.name in inherited)
    return [option for option in options if option.name not in ("steps", "most", "warmup")]


def flag(option: Field) -> str:
    """What an option is called on the command line."""
    return "--" + option.name.replace("_", "-")


def kind(option: Field) -> type:
    """The type of an option's value, where there is one."""
    hint = typing.get_type_hints(Options)[option.name]
    return next((part for part in typing.get_args(hint) if part is not type(None)), hint)


def explained() -> dict[str, str]:
    """What each option means, from the docstrings of `Plan` and `Options`."""
    found: dict[str, str] = {}
    for cls in (Plan, Options):
        text = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
        for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
            found[name] = " ".join(meaning.split()).rstrip(".").replace("`", "")
    return found
