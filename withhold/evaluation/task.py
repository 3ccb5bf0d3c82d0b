"""What a protocol measures: one encoder (or the pixels) on labelled training and test items."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from withhold.data import Samples
from withhold.errors import UsageError
from withhold.evaluation.controls import raw
from withhold.evaluation.features import features
from withhold.evaluation.logistic import moments
from withhold.methods import Classifier
from withhold.nets import Encoder


@dataclass(frozen=True)
class Task:
    """Learn from `train`, all of it labelled, to name the classes of `test`. Features are computed when asked for.

    Args:
        encoder: what is measured; None stands for the raw items, such as their pixels.
        train, test: as `labelled` gives them.
        seed: of whatever a protocol draws.
        device: where to compute.
        budget: images, counted with repeats, that a protocol may show to a network it trains.
        classifier: the method that trained the encoder, where it answers with classes itself.
    """

    encoder: Encoder | None
    train: Samples
    test: Samples
    seed: int
    device: torch.device
    budget: int
    classifier: Classifier | None = None

    @property
    def classes(self) -> int:
        return len(self.train.classes)

    @cached_property
    def bank(self) -> Tensor:
        """The training items' features, float32 [n, d]."""
        return self._features(self.train)

    @cached_property
    def queries(self) -> Tensor:
        """The test items' features, float32 [m, d]."""
        return self._features(self.test)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """What features are standardised with: the training items' mean [d], and deviation [d].

        How often words occur has one deviation for all of them: its own would make the rarest word the largest.
        """
        mean, deviation = moments(self.bank)
        if self.encoder is None and self.train.kind == "text":
            deviation = self.bank.var(0).mean().sqrt().expand_as(mean)
        return mean, deviation

    @cached_property
    def labels(self) -> Tensor:
        """The training items' classes, int64 [n]."""
        return torch.as_tensor(self.train.labels, device=self.device)

    @cached_property
    def answers(self) -> Tensor:
        """The test items' classes, int64 [m], in the training items' numbering."""
        number = {name: i for i, name in enumerate(self.train.classes)}
        return torch.tensor([number[self.test.classes[i]] for i in np.asarray(self.test.labels)], device=self.device)

    def accuracy(self, predicted: Tensor) -> float:
        """The share of test items whose class is predicted [m]."""
        return (predicted.to(self.device) == self.answers).float().mean().item()

    def smallest(self, least: int, reason: str) -> int:
        """The number of training items of the smallest class that has any; an error that names it if below `least`."""
        counts = torch.bincount(self.labels, minlength=self.classes).tolist()
        count, name = min((count, name) for count, name in zip(counts, self.train.classes, strict=True) if count)
        if count < least:
            raise UsageError(
                f"Class {name!r} of {self.train.source} has {_items(count)} to train on, and {reason}: "
                "label more of it, or leave the class out."
            )
        return count

    def _features(self, samples: Samples) -> Tensor:
        rows = raw(samples, self.train) if self.encoder is None else features(self.encoder, samples, device=self.device)
        return rows.to(self.device)


def labelled(train: Samples, test: Samples) -> tuple[Samples, Samples]:
    """The labelled items of both, checked: something to test on, two classes or more, none that only the test has.

    Raises:
        UsageError: labels that cannot be measured with.
    """
    parts = []
    for samples, purpose in ((train, "train"), (test, "test")):
        if not len(samples):
            raise UsageError(
                f"There is nothing to {purpose} on in {samples.source}: give it at least one item a class."
            )
        parts.append(samples.labelled("the evaluation"))
    train, test = parts
    known, asked = ({samples.classes[i] for i in np.unique(np.asarray(samples.labels))} for samples in parts)
    if len(known) == 1:
        raise UsageError(
            f"All {_items(len(train))} of {train.source} with a label are of class {known.pop()!r}: "
            "a classifier needs two classes or more."
        )
    if asked - known:
        raise UsageError(
            f"{test.source} asks for class {min(asked - known)!r}, of which {train.source} has no item to train on: "
            "give both the same classes."
        )
    return train, test


def _items(count: int) -> str:
    return "one item" if count == 1 else f"{count} items"
