"""What is given to learn from: a source, labels of some of its items, and what trainings start from."""

import importlib.util
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from withhold import data, nets
from withhold import methods as registry
from withhold.console import duration, quiet
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.nets.efficientnet import PACKAGE
from withhold.runs import Run, train
from withhold.runs.build import load_stream, suited_size, tell
from withhold.training import Row, defaults

log = logging.getLogger("withhold")

PUBLISHED = {
    "image": "efficientnet-lite0", "video": "efficientnet-lite0", "audio": "audio-efficientnet-lite0",
}  # fmt: skip
"""What frozen features are of where nobody names an encoder, by kind of data."""
SHARE = 0.2
"""Of the minutes that embedding all images in the size of the published weights may take."""
TIMED = 8
"""Images that an encoder is timed on."""


def published(kind: str) -> str | None:
    """The encoder of a kind of data that is taken where nobody names one: its published weights are at hand."""
    return PUBLISHED.get(kind) if importlib.util.find_spec(PACKAGE) else None


@dataclass(frozen=True)
class Given:
    """A source, and everything that all routes have in common.

    Args:
        source: as `train` takes it.
        labels: files with the labels of some items; None where the source has them.
        kind: of the data.
        minutes: how long a person waits.
        seed: of folds, weights and views.
        parameters: of methods; each takes those that it knows.
        progress: told every row of a training's journal, and the number of steps planned.
    """

    source: Any
    labels: list[str] | None
    kind: str
    minutes: float
    seed: int
    parameters: dict[str, Any]
    progress: Callable[[Row, int], None] | None = None

    def check_labels(self) -> None:
        """See that there are labels, of two classes or more: a training finds that out late, the first has none.

        Raises:
            UsageError: it is otherwise.
        """
        with quiet(logging.ERROR):  # what else is to be said of them is said when the items are loaded
            items = data.labels_of(self.source, self.kind, self.labels)
        tell(registry.find("finetune"), {"labelled": items}, {})

    def begin(self, encoder: str | None, pretrained: bool, size: int | None) -> dict[str, Any]:
        """What `train` is told of the start: what was named, or else published weights where they are at hand."""
        if encoder is None and (found := published(self.kind)):
            encoder, pretrained = found, True
        if encoder and pretrained and size is None and "size" in nets.takes(encoder):
            size = self.suited(encoder)
        return {"encoder": encoder, "pretrained": pretrained, "size": size}

    def suited(self, encoder: str) -> int:
        """The largest size up to that of the published weights that the minutes bear: it is said."""
        measured, published = data.measure(self.source, self.kind).size, nets.published_size(encoder)
        if self.kind != "image":
            return suited_size(measured, encoder, True)
        size = defaults.size(measured, defaults.device(), published)
        count = len(data.load(self.source, size=size, whole=False))
        sizes = {published, size, *(smaller for smaller in defaults.SIZES if smaller < size)}
        for size in sorted(sizes, reverse=True):
            seconds = count * self.timed(encoder, size)
            if seconds <= SHARE * 60 * self.minutes:
                break
        log.info("features of all at %s px take about %s: images are scaled to that", size, duration(seconds))
        return size

    def timed(self, encoder: str, size: int) -> float:
        """The seconds that an encoder of images takes for one of a size."""
        network = nets.build(encoder, size=size, channels=3).eval().to(defaults.device())
        images = torch.rand(TIMED, 3, size, size, device=defaults.device())
        with torch.inference_mode():
            network(images[:1])
            began = time.perf_counter()
            network(images)
        return (time.perf_counter() - began) / TIMED

    def train(self, method: str, *sources: Any, out: Path, start: dict[str, Any], **options: Any) -> Run:
        """A training of `method`, with those of the parameters that it takes."""
        known = registry.parameters(registry.find(method))
        own = {name: value for name, value in self.parameters.items() if name in known}
        options |= {"seed": self.seed, "no_report": True, "progress": self.progress}
        return train(method, *sources, out=out, **start, **own, **options)

    def probe(self, out: Path, start: dict[str, Any], labels: list[str] | None) -> Run:
        """The run whose head is a linear probe of the frozen start."""
        return self.train("finetune", self.source, out=out, start=start, labels=labels, freeze="all", epochs=0)


@dataclass(frozen=True)
class Known:
    """A given source as a run has decoded it.

    Args:
        samples: all items, of which some have a label.
        bare: the source as what learns without labels may see it: without those that it has itself.
    """

    samples: Samples
    bare: Any

    @classmethod
    def of(cls, given: Given, run: Run) -> "Known":
        (samples,) = run.streams()
        own = load_stream(given.source, given.kind, run.config["decoding"])
        bare = given.source if own.labels is None else own.with_labels(np.full(len(own), -1), ())
        return cls(samples, bare)

    @cached_property
    def rows(self) -> np.ndarray:
        """Which of the items have a label."""
        return np.flatnonzero(np.asarray(self.samples.labels) >= 0)

    @cached_property
    def labels(self) -> np.ndarray:
        """Their labels, int64 [n]."""
        return np.asarray(self.samples.labels)[self.rows]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.samples.classes

    @cached_property
    def owners(self) -> list[str]:
        """What tells each labelled item's content from others': copies have the same [n]."""
        return self.samples.select(self.rows).digests()


def check(parameters: dict[str, Any], methods: list[str]) -> None:
    """Raises: UsageError: a parameter that none of the methods takes."""
    known = {name for method in methods for name in registry.parameters(registry.find(method))}
    if unknown := sorted(set(parameters) - known):
        raise UsageError(f"None of {', '.join(methods)} takes a parameter {unknown[0]!r}: leave it out.")
