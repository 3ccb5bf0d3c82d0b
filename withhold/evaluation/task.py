"""The input of a protocol: one encoder (or the raw items), training and test items."""

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from withhold import data, kinds, nets
from withhold.console import counted
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.methods import Method
from withhold.nets.logistic import moments

log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Task:
    """Training on `train` and testing on `test`. Features are computed when first used.

    Args:
        encoder: the evaluated encoder; None stands for the raw items, such as pixels.
        train, test: the data of the protocol: samples, all of them labelled if it needs labels, or a list of sequences
            to test on.
        seed: seed of random choices in a protocol.
        device: device of the computation.
        budget: the most images, counted with repeats, on which a protocol may train a network.
        method: the method of the encoder, if it makes predictions, such as classes.
        row: name of the encoder in the table.
        size: image size of the trained encoder in pixels, also for controls; 0 if it takes no images.
        flip: probability of a horizontal flip, if a protocol trains on views of images.
        pooling: the only pooling that is measured, if a protocol pools maps.
        kept: the encoder's features, shared by all tasks with it.
    """

    encoder: Any  # Encoder | None; which class depends on the protocol
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
        """Features of the training items, float32 [n, d]."""
        return self.features(self.train)

    @cached_property
    def queries(self) -> Tensor:
        """Features of the test items, float32 [m, d]."""
        return self.features(self.test)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean [d] and standard deviation [d] of the training features, for standardisation.

        If the raw features of a kind are comparable, such as word counts, they share one standard deviation.
        """
        return moments(self.bank, alike=self.encoder is None and kinds.of(self.train.kind).alike)

    @cached_property
    def _shared(self) -> tuple[list[Any], tuple[str, ...]]:
        """The classes of the training and of the test items in one common numbering, and the names of the classes."""
        return data.share_classes([(part.labels, part.classes) for part in (self.train, self.test)])

    @cached_property
    def labels(self) -> Tensor:
        """Classes of the training items, int64 [n]."""
        return torch.as_tensor(self._shared[0][0], device=self.device)

    @cached_property
    def truth(self) -> Tensor:
        """Classes of the test items, int64 [m], in their own numbering, which may differ from that of `labels`."""
        return torch.as_tensor(self.test.labels, device=self.device)

    @cached_property
    def answers(self) -> Tensor:
        """Classes of the test items, int64 [m], in the numbering of `labels`: see `require_known`."""
        return torch.as_tensor(self._shared[0][1], device=self.device)

    def accuracy(self, predicted: Tensor) -> float:
        """The share of test items whose class is `predicted` [m] correctly."""
        return (predicted.to(self.device) == self.answers).float().mean().item()

    def require_known(self) -> None:
        """Check that there are two training classes or more, and that they include all test classes.

        Raises:
            UsageError: they do not.
        """
        numbers, names = self._shared
        known, asked = ({names[i] for i in np.unique(part)} for part in numbers)
        if len(known) == 1:
            raise UsageError(
                f"All {counted(len(self.train), 'item')} of {self.train.source} with a label are of class "
                f"{known.pop()!r}. "
                "A classifier needs at least two classes."
            )
        if asked - known:
            raise UsageError(
                f"The test data {self.test.source} have the class {min(asked - known)!r}, but the training data "
                f"{self.train.source} have no item of it. Give both the same classes."
            )

    @property
    def smallest(self) -> int:
        """The number of training items of the smallest non-empty class."""
        return int(torch.unique(self.labels, return_counts=True)[1].min())

    def with_pairs(self, reason: str) -> "Task":
        """Return the task without classes that have only one training item; a warning names them and the `reason`.

        Raises:
            UsageError: fewer than two classes or no test items are left.
        """
        counts = torch.bincount(self.labels, minlength=self.classes)
        single = [name for name, count in zip(self.train.classes, counts.tolist(), strict=True) if count == 1]
        if not single:
            return self
        kept, asked = (counts[self.labels] > 1).cpu(), (counts[self.answers] > 1).cpu()
        left = f"{self.train.source} has only one training item of {', '.join(map(repr, single))}, and {reason}"
        if self.labels[kept].unique().numel() < 2 or not asked.any():
            raise UsageError(f"There is nothing to evaluate: {left}. Label more items of each class.")
        log.warning("classes are left out: %s", left)
        rest = replace(
            self, train=self.train.select(kept.nonzero()[:, 0]), test=self.test.select(asked.nonzero()[:, 0])
        )
        rest.__dict__.update(bank=self.bank[kept], queries=self.queries[asked])  # avoids computing them again
        return rest

    def said(self, name: str, samples: Samples) -> Tensor | None:
        """The method's prediction called `name` for samples, float32 [n, ...] on the CPU; None if it has none."""
        if self.method is None or (function := self.method.says().get(name)) is None:
            return None
        return nets.rows(self.method, function, samples, self.device)

    def features(self, samples: Samples) -> Tensor:
        """Features of samples by the encoder or the raw control, float32 [n, d] on the device."""
        if self.encoder is None:
            return kinds.of(samples.kind).raw(samples, self.train).to(self.device)
        if samples not in self.kept:
            self.kept[samples] = nets.features(self.encoder, samples, device=self.device).to(self.device)
        return self.kept[samples]
