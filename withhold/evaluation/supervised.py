"""Networks that see the labels: the supervised control, and fine-tuning."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from withhold import methods as registry
from withhold.data import Feeder, Samples
from withhold.errors import UsageError
from withhold.evaluation.features import plain_batches
from withhold.evaluation.task import Task
from withhold.methods import Dense, Encoder, Method
from withhold.methods.transfer.finetune import Finetune
from withhold.needs import Need, parse
from withhold.training import Plan, defaults, fit
from withhold.training.fabric import make_fabric

BATCH_SIZE = 128
NEEDS = {"labelled": parse("items + label")}
Learner = TypeVar("Learner", bound=Method)


def train(
    encoder: Encoder,
    samples: Samples,
    *,
    learned: bool,
    images: int,
    seed: int,
    device: torch.device,
    flip: float = 0.5,
) -> Finetune:
    """Train a copy of `encoder` on labelled samples until it has seen `images`, counted with repeats, in eval mode.

    Args:
        learned: whether it has learned before, and is fine-tuned; else it is trained from scratch.
        flip: probability of a mirror image.

    Raises:
        KeyboardInterrupt, SystemExit: it was asked to end before that.
    """
    feeder = Feeder({"labelled": samples}, NEEDS, min(BATCH_SIZE, len(samples)), seed, device=device)
    return teach(
        lambda: Finetune(copy.deepcopy(encoder), samples.classes, probe=learned, flip=flip),
        feeder, images, device, **defaults.layerwise(learned),
    )  # fmt: skip


def over_maps(task: Task, cls: type[Dense], takes: Need, classes: Sequence[str]) -> Method:
    """A method that has learned over maps of the task's encoder, which stay as they are, for the task's budget.

    Raises:
        UsageError: the encoder gives no maps of images.
    """
    if task.encoder.kind != "image":
        raise UsageError(
            f"{cls.name} needs maps of images, and {type(task.encoder).__name__} gives none: take a run of a method of "
            "images."
        )
    feeder = Feeder({"images": task.train}, {"images": takes}, min(cls.batch_size or 1, len(task.train)), task.seed,
                    device=task.device)  # fmt: skip
    told, values = {"classes": classes}, {"freeze": "all", "flip": task.flip}
    return teach(
        lambda: registry.build(cls, copy.deepcopy(task.encoder), values, told), feeder, task.budget, task.device
    )


def teach(make: Callable[[], Learner], feeder: Feeder, images: int, device: torch.device, **options: Any) -> Learner:
    """Train a method on one stream until it has seen `images`, counted with repeats; see `train`.

    Args:
        make: makes the method, with weights from the feeder's seed.
        options: of the plan.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(feeder.seed)
        learner = make()
        fabric = make_fabric(device.type, precision=defaults.precision(device, learner.encoder))
        plan = Plan(steps=max(1, images // feeder.batch_size), seed=feeder.seed, **options)
        with tqdm(total=plan.steps, desc="training with labels", unit=" steps", delay=2, disable=None) as bar:
            fit(learner, feeder, plan, fabric=fabric, report=lambda row, _: bar.update(int(row["step"]) - bar.n))
        learner.eval().finish(lambda: plain_batches(list(feeder.streams.values()), device))
    return learner
