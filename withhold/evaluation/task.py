"""What a protocol measures: one encoder (or the raw items) on training and test items."""

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from withhold import data, kinds, nets
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.methods import Method
from withhold.nets.logistic import moments

log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Task:
    """Learn from `train`, and be measured on `test`. Features are computed when asked for.

    Args:
        encoder: what is measured; None stands for the raw items, such as their pixels.
        train, test: what the protocol takes: samples, all of them labelled where it takes labels, or a list of
            sequences to test on.
        seed: of whatever a protocol draws.
        device: where to compute.
        budget: images, counted with repeats, that a protocol may show to a network it trains.
        method: what the encoder is a part of, where that says something itself, such as classes.
        row: what the encoder is called in the table.
        size: pixels of the images that the trained encoder sees, also where a control is measured; 0 if it sees none.
        flip: probability of a mirror image, where a protocol trains on views of images.
        pooling: the only one that is measured, where a protocol pools maps.
        kept: the encoder's features, which all tasks with it share.
    """

    encoder: Any  # Encoder | None; a protocol knows which sort it takes
    train: Any
    test: Any
    seed: int
    device: torch.device
    budget: int
    method: Method | None = None
    row: str = "trained"
    size: int = 0
    flip: float = 0.5
    pooling: str | None = None
    kept: dict[Samples, Tensor] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        return len(self.train.classes)

    @cached_property
    def bank(self) -> Tensor:
        """The training items' features, float32 [n, d]."""
        return self.features(self.train)

    @cached_property
    def queries(self) -> Tensor:
        """The test items' features, float32 [m, d]."""
        return self.features(self.test)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """What features are standardised with: the training items' mean [d], and deviation [d].

        Where the raw features of a kind are alike, such as how often words occur, one deviation is that of all of them.
        """
        return moments(self.bank, alike=self.encoder is None and kinds.of(self.train.kind).alike)

    @cached_property
    def _shared(self) -> tuple[list[Any], tuple[str, ...]]:
        """The classes of the training and of the test items, as numbers of one table, and the names in it."""
        return data.share_classes([(part.labels, part.classes) for part in (self.train, self.test)])

    @cached_property
    def labels(self) -> Tensor:
        """The training items' classes, int64 [n]."""
        return torch.as_tensor(self._shared[0][0], device=self.device)

    @cached_property
    def truth(self) -> Tensor:
        """The test items' classes, int64 [m], in their own numbering, which training items need not share."""
        return torch.as_tensor(self.test.labels, device=self.device)

    @cached_property
    def answers(self) -> Tensor:
        """The test items' classes, int64 [m], in the training items' numbering: see `require_known`."""
        return torch.as_tensor(self._shared[0][1], device=self.device)

    def accuracy(self, predicted: Tensor) -> float:
        """The share of test items whose class is predicted [m]."""
        return (predicted.to(self.device) == self.answers).float().mean().item()

    def require_known(self) -> None:
        """Two classes or more to learn, and none that only the test has: for protocols that name classes.

        Raises:
            UsageError: it is otherwise.
        """
        numbers, names = self._shared
        known, asked = ({names[i] for i in np.unique(part)} for part in numbers)
        if len(known) == 1:
            raise UsageError(
                f"All {_items(len(self.train))} of {self.train.source} with a label are of class {known.pop()!r}: "
                "a classifier needs two classes or more."
            )
        if asked - known:
            raise UsageError(
                f"{self.test.source} asks for class {min(asked - known)!r}, of which {self.train.source} has no item "
                "to train on: give both the same classes."
            )

    @property
    def smallest(self) -> int:
        """The number of training items of the smallest class that has any."""
        return int(torch.unique(self.labels, return_counts=True)[1].min())

    def with_pairs(self, reason: str) -> "Task":
        """The same without the classes that have one item to train on, nor those to test; it is said which and why.

        Raises:
            UsageError: fewer than two classes are left, or nothing to test on.
        """
        counts = torch.bincount(self.labels, minlength=self.classes)
        single = [name for name, count in zip(self.train.classes, counts.tolist(), strict=True) if count == 1]
        if not single:
            return self
        kept, asked = (counts[self.labels] > 1).cpu(), (counts[self.answers] > 1).cpu()
        left = f"of {', '.join(map(repr, single))} {self.train.source} has one item to train on, and {reason}"
        if self.labels[kept].unique().numel() < 2 or not asked.any():
            raise UsageError(f"Nothing can be measured: {left}: label more of each class.")
        if self.row == "trained":
            log.warning("classes are left out: %s", left)
        rest = replace(
            self, train=self.train.select(kept.nonzero()[:, 0]), test=self.test.select(asked.nonzero()[:, 0])
        )
        rest.__dict__.update(bank=self.bank[kept], queries=self.queries[asked])  # they are computed once
        return rest

    def said(self, name: str, samples: Samples) -> Tensor | None:
        """What the method says of samples under a name, float32 [n, ...] on the CPU; None if it says no such thing."""
        if self.method is None or (function := self.method.says().get(name)) is None:
            return None
        return nets.rows(self.method, function, samples, self.device)

    def features(self, samples: Samples) -> Tensor:
        """What the encoder, or the raw control, makes of samples: float32 [n, d] on the device."""
        if self.encoder is None:
            return kinds.of(samples.kind).raw(samples, self.train).to(self.device)
        if samples not in self.kept:
            self.kept[samples] = nets.features(self.encoder, samples, device=self.device).to(self.device)
        return self.kept[samples]


def _items(count: int) -> str:
    return "one item" if count == 1 else f"{count} items"
