"""Networks that see the labels: the supervised control, and fine-tuning."""

import copy
import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.nn import functional as F
from tqdm import tqdm

from withhold import views
from withhold.data import Feeder, Samples
from withhold.methods import Classifier, Encoder, Optimizer, accuracy
from withhold.needs import parse
from withhold.nets import AudioEncoder
from withhold.training import Plan, defaults, fit

BATCH_SIZE = 128


class Supervised(Classifier):
    """Withholds the label; predicts it from a random crop of the image, or from all of a text."""

    needs = {"labelled": parse("image + label")}

    def withhold(self, labelled):
        """Images or clips uint8 [n, (t,) c, h, w] and labels [n] -> crops and flips of them, labels [n].

        Sounds int16 [n, s] become louder or softer, earlier or later; where the encoder is one of sounds alone, also
        spectrograms with masks. Token numbers [n, l] stay what they are.
        """
        items, labels = labelled
        if self.encoder.kind == "text":
            return items, labels
        return self.sound(items) if items.ndim == 2 else views.augment(items, self.rng, crop=(0.4, 1.0)), labels

    def sound(self, sounds):
        heard = views.time_shift(views.gain(views.to_float(sounds), self.rng, 6.0), self.rng, 0.1)
        if not isinstance(self.encoder, AudioEncoder):
            return heard
        return views.mask_bands(self.encoder.normalize(heard), self.rng, 0.2, 0.2)

    def predict(self, images):
        return self.classify(images)

    def loss(self, scores, labels):
        return {
            "loss": F.cross_entropy(scores, labels),
            "accuracy": accuracy(scores, labels),
            "trivial": math.log(scores.shape[1]),
        }


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
        learner = cls(copy.deepcopy(encoder), samples.classes)
        plan = Plan(steps=max(1, images // feeder.batch_size), seed=seed)
        with tqdm(total=plan.steps, desc="training with labels", unit=" steps", delay=2, disable=None) as bar:
            fit(learner, feeder, plan, fabric=fabric, report=lambda row, _: bar.update(int(row["step"]) - bar.n))
    return learner
