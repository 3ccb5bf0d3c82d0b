"""Training options, shared by the command line, a run's configuration and its report."""

import inspect
import math
import re
import typing
from dataclasses import Field, dataclass, fields

from withhold.errors import UsageError, suggestion

OPTIMIZERS = ("adamw", "sgd", "lars", "adagrad")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""The precisions of a training; weights are float32 in all of them."""


@dataclass(frozen=True)
class Plan:
    """The plan of a training. Values that are None are set by the method.

    Args:
        steps: optimiser steps; None to fill `minutes`.
        minutes: total time in minutes, from reading the data to the report; the number of steps follows from the
            measured speed. By default 10 on a CPU and 30 on a GPU, if epochs are not given.
        most: maximum number of steps, if the budget is in minutes.
        optimizer: `adamw`, `sgd`, `lars` or `adagrad`; by default the method's own.
        lr: peak learning rate for a batch of 256, scaled to the batch size; by default the method's own.
        weight_decay: weight decay, not applied to biases and normalisation; by default the method's own.
        warmup: share of the steps in which the learning rate rises.
        clip: maximum norm of the gradients; 0 for no limit.
        accumulate: number of parts into which a batch is split to save memory.
        encoder_lr: learning rate of the encoder, as a share of --lr; by default 0.1 for pretrained weights, 0.3 for
            those of an earlier run, else 1; always 1 for masks and boxes.
        layer_decay: factor of the learning rate from each stage of the encoder to the stage before it; by default 0.8
            for pretrained weights, 0.9 for those of an earlier run, else 1; always 1 for masks and boxes.
        seed: random seed of weights, order and views.
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
    """The options of a training. Values that are None are chosen from the data, the budget and the hardware.

    Args:
        encoder: `convnet`, `resnet18`, `vit-tiny`, `hf:NAME`, `timm:NAME`, `./mine.py` ..., or the folder of a
            run or its exported .safetensors file, to start from its encoder; by default one that suits the method and
            the hardware.
        pretrained: start from the encoder's pretrained weights.
        size: height and width of the input in pixels; by default those of the images, at most 96 on a CPU and 224 on a
            GPU; with pretrained weights 128 on a CPU, and the size that they were trained at on a GPU.
        epochs: number of epochs, instead of minutes; with 0 the method is only prepared, e.g. `finetune` fits its
            head.
        batch_size: batch size on each device.
        labels: a csv file with the columns path and label, for some or all items; repeat the option for several files.
        devices: number of processes on this machine.
        nodes: number of machines, started by torchrun or SLURM.
        precision: `32-true`, `bf16-mixed` or `16-mixed`; by default the fastest on the hardware.
        strict: stop at a file that cannot be read, instead of skipping and listing it.
        no_report: do not write report.html; `withhold report RUN` writes it later.

    Raises:
        UsageError: an invalid value, or two budgets.
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
            raise UsageError("--epochs and --minutes exclude each other. Give only one of them.")
        for name in ("minutes", "batch_size", "size", "lr", "layer_decay"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"The {name.replace('_', ' ')} must be a number above 0, not {value:g}.")
        leasts = dict.fromkeys(("devices", "nodes", "accumulate"), 1)
        leasts |= dict.fromkeys(("epochs", "seed", "clip", "weight_decay", "encoder_lr"), 0)
        for name, least in leasts.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise UsageError(f"The {name.replace('_', ' ')} must be a number of at least {least}, not {value:g}.")
        if self.seed >= 2**63:
            raise UsageError(f"The seed must be below 2^63, not {self.seed}.")
        for name, known in {"precision": PRECISIONS, "optimizer": OPTIMIZERS}.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise UsageError(f"There is no {name} {value!r}: {suggestion(value, known)}")

    def words(self) -> list[str]:
        """Return the options that differ from the defaults, as on the command line."""
        words = []
        for option in named():
            value = getattr(self, option.name)
            if value is True:
                words.append(flag(option))
            elif isinstance(value, list):
                words += [word for each in value for word in (flag(option), each)]
            elif value != option.default:
                words += [flag(option), str(value).removesuffix(".0")]
        return words


def named() -> list[Field]:
    """Return the options that a user may set; a budget in steps and the warm-up follow from others."""
    inherited = {option.name for option in fields(Plan)}
    options = sorted(fields(Options), key=lambda option: option.name in inherited)
    return [option for option in options if option.name not in ("steps", "most", "warmup")]


def flag(option: Field) -> str:
    """Return the name of an option on the command line."""
    return "--" + option.name.replace("_", "-")


def kind(option: Field) -> type:
    """Return the type of an option's value."""
    hint = typing.get_type_hints(Options)[option.name]
    return next((part for part in typing.get_args(hint) if part is not type(None)), hint)


def explained() -> dict[str, str]:
    """Return the description of each option, from the docstrings of `Plan` and `Options`."""
    found: dict[str, str] = {}
    for cls in (Plan, Options):
        text = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
        for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
            found[name] = " ".join(meaning.split()).rstrip(".").replace("`", "")
    return found
