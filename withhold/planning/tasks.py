"""The available tasks: what networks are trained on, and the targets of their features."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import views
from withhold.data import Samples, Target
from withhold.errors import UsageError, suggestion
from withhold.methods.responses import FILTERS
from withhold.needs import IGNORED

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "autoencoding": ("autoencoder", {}), "denoising": ("denoising_autoencoder", {}),
    "inpainting": ("context_encoder", {}), "colorization": ("colorization", {}), "jigsaw": ("jigsaw", {}),
    "rotation": ("rotation", {}), **{name: ("filter_response", {"of": name}) for name in FILTERS},
}  # fmt: skip
"""Tasks without labels, and their methods."""
RANDOM = "random"
"""The control: a randomly initialised network."""
DENSE = {"autoencoding": lambda images: images, **FILTERS}
"""Tasks without labels that can be targets: functions of images float [n, c, h, w] in [0, 1]."""
LABEL, MASK = "label", "mask"


@dataclass(frozen=True)
class Truth:
    """The true values of a target.

    Args:
        values: numbers float [n, d] or [n, d, h, w], NaN if unknown; or classes int64 [n] or [n, h, w], -1 if unknown.
        classes: number of classes; 0 for numbers.
    """

    values: Tensor
    classes: int = 0

    @property
    def outputs(self) -> int:
        """Number of outputs per item or pixel."""
        return self.classes or self.values.shape[1]

    @property
    def size(self) -> int:
        """Height and width of values per pixel, or 0."""
        return self.values.shape[-1] if self.values.ndim > 2 else 0

    @property
    def known(self) -> Tensor:
        """The items with known values, bool [n]."""
        return self._there.reshape(len(self.values), -1).any(1)

    @property
    def _there(self) -> Tensor:
        return self.values >= 0 if self.classes else self.values.isfinite()

    def select(self, rows: Tensor) -> "Truth":
        """The values of the items at `rows`."""
        return Truth(self.values[rows], self.classes)

    def scaled(self, other: "Truth") -> "Truth":
        """Numbers standardised by the mean and deviation of `other`; classes are unchanged."""
        if self.classes:
            return self
        flat = other.values.transpose(0, 1).flatten(1)
        means = flat.nanmean(1)
        spread = (flat - means[:, None]).square().nanmean(1).sqrt().clamp(min=1e-6)
        shape = [1, -1, *[1] * (self.values.ndim - 2)]
        return Truth((self.values - means.view(shape)) / spread.view(shape))

    def errors(self, said: Tensor) -> Tensor:
        """The error of each item [n]: cross-entropy for classes or squared error for numbers, over known values."""
        known = self._there
        if self.classes:
            costs = F.cross_entropy(said, self.values, ignore_index=-1, reduction="none")
        else:
            costs = (said - self.values.where(known, said.detach())).square()
        costs, known = (part.reshape(len(said), -1) for part in (costs, known))
        return costs.sum(1) / known.sum(1)


@dataclass(frozen=True)
class Task:
    """A task, trained by `method` with `parameters`; None leaves the network randomly initialised."""

    name: str
    method: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> bool:
        """Whether it can be a target: its true values belong to the image itself, not to a modified view of it."""
        return self.name in DENSE or self.method in ("multitask", "segmentation")

    def teach(self, samples: Samples) -> Samples:
        """The items with the targets that the method needs."""
        if self.method != "multitask":
            return samples
        alone = samples.select(np.arange(len(samples)))
        alone.give("targets", {self.name: column(samples, self.name)})
        return alone

    def truth(self, samples: Samples) -> Truth:
        """The true values of the items, for a task that can be a target."""
        rows = np.arange(len(samples))
        if self.method == "segmentation":
            masks = samples.parts[MASK]
            numbers = masks.batch(rows)[:, 0].long()
            return Truth(numbers.where(numbers != IGNORED, -1), len(masks.classes))
        if self.method == "multitask":
            target = column(samples, self.name)
            values = torch.from_numpy(np.asarray(target.values))
            return Truth(values.long(), len(target.classes)) if target.classes else Truth(values[:, None])
        return Truth(DENSE[self.name](views.to_float(samples.batch(rows))))


def column(samples: Samples, name: str) -> Target:
    """A column of values, or the label. Raises: UsageError: no item has a label."""
    if name == LABEL and name not in samples.targets:
        samples.labelled("the task label")
        return Target(np.asarray(samples.labels), samples.classes)
    return samples.targets[name]


def bank(samples: Samples, names: Sequence[str] | None) -> dict[str, Task]:
    """The tasks with these names, by default all that the items support, and the control.

    Raises:
        UsageError: an unknown name, or a task that the items do not support.
    """
    labelled = [*samples.targets, *[MASK] * (MASK in samples.parts), *[LABEL] * (samples.labels is not None)]
    if clash := sorted({*METHODS, RANDOM} & set(labelled)):
        raise UsageError(f"The column {clash[0]} has the name of a task without labels. Rename the column.")
    able = [name for name in METHODS if name != "colorization" or samples.shape[2] == 3]
    tasks = {name: Task(name, *METHODS[name]) for name in METHODS}
    tasks |= {name: Task(name, "multitask", {"columns": name}) for name in [LABEL, *labelled]}
    tasks |= {MASK: Task(MASK, "segmentation")} if MASK in labelled else {}
    tasks |= {RANDOM: Task(RANDOM)}
    for name in names or ():
        if name not in tasks:
            raise UsageError(f"There is no task {name!r} of {samples.source}: {suggestion(name, tasks)}")
        if name == LABEL:
            column(samples, name)
    telling = [name for name in labelled if not (name in samples.targets and samples.targets[name].names_items)]
    return {name: tasks[name] for name in dict.fromkeys([*(names or [*able, *telling]), RANDOM])}
