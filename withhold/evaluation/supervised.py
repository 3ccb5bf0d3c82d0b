"""Networks that see the labels: the supervised control, and fine-tuning."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.nn import functional as F
from tqdm import tqdm

from withhold import kinds
from withhold.data import Feeder, Samples
from withhold.methods import Classifier, Encoder, Optimizer, accuracy
from withhold.needs import parse
from withhold.training import Plan, defaults, fit

BATCH_SIZE = 128


class Supervised(Classifier):
    """Withholds the label; predicts it from a mild change of the item, such as a random crop.

    Args:
        kind: of the items; by default what the encoder is of.
    """

    needs = {"labelled": parse("items + label")}

    def __init__(self, encoder: Encoder, classes: Sequence[str], kind: str | None = None):
        super().__init__(encoder, classes)
        self.kind = kinds.of(kind or encoder.kind)

    def withhold(self, labelled):
        """What `data` gives of a batch, and labels [n] -> what `kinds` makes of it, labels [n]."""
        items, labels = labelled
        return self.kind.change(items, self.encoder, self.rng), labels

    def predict(self, seen):
        return self.classify(seen)

    def loss(self, scores, labels):
        loss, trivial = F.cross_entropy(scores, labels), math.log(scores.shape[1])
        return {"loss": loss, "accuracy": accuracy(scores, labels), "trivial": trivial}


class Finetune(Supervised):
    """The same for an encoder that has learned before: it goes on at a tenth of the head's learning rate."""

    optimizer = Optimizer(encoder=0.1)


def train(
    cls: type[Supervised], encoder: Encoder, samples: Samples, *, images: int, seed: int, device: torch.device
) -> Supervised:
    """Train a copy of `encoder` on labelled samples until it has seen `images`, counted with repeats.

    Raises:
        KeyboardInterrupt, SystemExit: it was asked to end before that.
    """
    feeder = Feeder({"labelled": samples}, cls.needs, min(BATCH_SIZE, len(samples)), seed, device=device)
    precision: Any = defaults.precision(device, encoder)
    fabric = Fabric(accelerator=device.type, devices=1, precision=precision)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the head's weights
        learner = cls(copy.deepcopy(encoder), samples.classes, samples.kind)
        plan = Plan(steps=max(1, images // feeder.batch_size), seed=seed)
        with tqdm(total=plan.steps, desc="training with labels", unit=" steps", delay=2, disable=None) as bar:
            fit(learner, feeder, plan, fabric=fabric, report=lambda row, _: bar.update(int(row["step"]) - bar.n))
    return learner
