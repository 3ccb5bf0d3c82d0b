"""Networks trained on labels: the supervised control and fine-tuning."""

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
    """Train a copy of `encoder` on labelled samples for `images` images, counted with repeats; returns it in eval mode.

    Args:
        learned: whether it is pretrained, and is fine-tuned; False trains it from scratch.
        flip: probability of a horizontal flip.

    Raises:
        KeyboardInterrupt, SystemExit: the training was interrupted.
    """
    feeder = Feeder({"labelled": samples}, NEEDS, min(BATCH_SIZE, len(samples)), seed, device=device)
    return teach(
        lambda: Finetune(copy.deepcopy(encoder), samples.classes, probe=learned, flip=flip),
        feeder, images, device, **defaults.layerwise(learned),
    )  # fmt: skip


def over_maps(task: Task, cls: type[Dense], takes: Need, classes: Sequence[str]) -> Method:
    """Train a dense method on frozen maps of the task's encoder, for the task's budget.

    Raises:
        UsageError: the encoder has no maps of images.
    """
    if task.encoder.kind != "image":
        raise UsageError(
            f"{cls.name} needs maps of images, but {type(task.encoder).__name__} has none. Use a run of an image "
            "method."
        )
    feeder = Feeder({"images": task.train}, {"images": takes}, min(cls.batch_size or 1, len(task.train)), task.seed,
                    device=task.device)  # fmt: skip
    told, values = {"classes": classes}, {"freeze": "all", "flip": task.flip}
    return teach(
        lambda: registry.build(cls, copy.deepcopy(task.encoder), values, told), feeder, task.budget, task.device
    )


def teach(make: Callable[[], Learner], feeder: Feeder, images: int, device: torch.device, **options: Any) -> Learner:
    """Train a method on one stream for `images` images, counted with repeats; see `train`.

    Args:
        make: builds the method; its weights follow from the feeder's seed.
        options: options of the plan.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(feeder.seed)
        learner = make()
        fabric = make_fabric(device.type, precision=defaults.precision(device, learner.encoder))
        plan = Plan(steps=max(1, images // feeder.batch_size), seed=feeder.seed, **options)
        with tqdm(total=plan.steps, desc="training with labels", unit=" steps", delay=2, disable=None) as bar:
            fit(learner, feeder, plan, fabric=fabric, report=lambda row, _: bar.update(int(row["step"]) - bar.n))
        learner.eval().finish(lambda: plain_batches(list(feeder.streams.values()), device))
        learner.conclude(**feeder.streams)
    return learner
