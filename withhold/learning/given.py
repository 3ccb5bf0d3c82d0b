"""The inputs of `learn`: a source, labels of some of its items, and the encoder to start from."""

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
from withhold.data import Samples, manifests
from withhold.errors import UsageError
from withhold.labelling import STRATEGIES
from withhold.nets.efficientnet import PACKAGE
from withhold.runs import Run, train
from withhold.runs.build import load_stream, suited_size, tell
from withhold.runs.loading import find
from withhold.training import Row, defaults

log = logging.getLogger("withhold")

PRETRAINED = {
    "image": "efficientnet-lite0", "video": "efficientnet-lite0", "audio": "audio-efficientnet-lite0",
}  # fmt: skip
"""Default encoder of the frozen features, by kind of data."""
SHARE = 0.2
"""Largest share of the minutes for embedding all images at the size of the pretrained weights."""
TIMED = 8
"""Images used to time an encoder."""


def pretrained_encoder(kind: str) -> str | None:
    """The default encoder of a kind of data, if its pretrained weights are installed; else None."""
    return PRETRAINED.get(kind) if importlib.util.find_spec(PACKAGE) else None


@dataclass(frozen=True)
class Given:
    """A source, and the settings that all routes share.

    Args:
        source: as `train` takes it.
        labels: files with the labels of some items; None if the source has labels.
        kind: kind of data.
        minutes: time budget.
        seed: seed of folds, weights and views.
        parameters: parameters of methods; each method takes those that it has.
        progress: called with every row of a training's journal and the number of planned steps.
    """

    source: Any
    labels: list[str] | None
    kind: str
    minutes: float
    seed: int
    parameters: dict[str, Any]
    progress: Callable[[Row, int], None] | None = None

    def check_labels(self) -> None:
        """Check early that there are labels of at least two classes.

        Raises:
            UsageError: there are none, or of one class only.
        """
        with quiet(logging.ERROR):  # other warnings are logged when the items are loaded
            items = data.labels_of(self.source, self.kind, self.labels)
        tell(registry.find("finetune"), {"labelled": items}, {})

    def chosen(self) -> int:
        """How many labels are of items that `withhold label` chose, other than at random."""
        found = 0
        for path in self.labels or ():
            columns = manifests.read(Path(path))
            if {"label", "why", "score"} <= {*columns}:  # its table
                rows = zip(columns["label"], columns["why"], strict=True)
                found += sum(bool(label) and why not in (None, "", STRATEGIES["random"].why) for label, why in rows)
        return found

    def begin(self, encoder: str | None, pretrained: bool, size: int | None) -> dict[str, Any]:
        """The start of trainings, as options of `train`: as given, or pretrained weights if they are installed."""
        if encoder is None and (found := pretrained_encoder(self.kind)):
            encoder, pretrained = found, True
        if encoder and pretrained and size is None and find(encoder) is None and "size" in nets.takes(encoder):
            size = self.suited(encoder)
        return {"encoder": encoder, "pretrained": pretrained, "size": size}

    def suited(self, encoder: str) -> int:
        """The largest image size, up to that of the pretrained weights, that fits the minutes; it is logged."""
        measured, most = data.measure(self.source, self.kind).size, nets.pretrained_size(encoder)
        if self.kind != "image":
            return suited_size(measured, encoder, True)
        size = defaults.size(measured, defaults.device(), most)
        count = len(data.load(self.source, size=size, whole=False))
        sizes = {most, size, *(smaller for smaller in defaults.SIZES if smaller < size)}
        for size in sorted(sizes, reverse=True):
            seconds = count * self.timed(encoder, size)
            if seconds <= SHARE * 60 * self.minutes:
                break
        log.info("image size: %s px; features of all images take about %s", size, duration(seconds))
        return size

    def timed(self, encoder: str, size: int) -> float:
        """The seconds that an image encoder takes per image of a size."""
        network = nets.build(encoder, size=size, channels=3).eval().to(defaults.device())
        images = torch.rand(TIMED, 3, size, size, device=defaults.device())
        with torch.inference_mode():
            network(images[:1])
            began = time.perf_counter()
            network(images)
        return (time.perf_counter() - began) / TIMED

    def train(self, method: str, *sources: Any, out: Path, start: dict[str, Any], **options: Any) -> Run:
        """Train `method` with those of the parameters that it has."""
        known = registry.parameters(registry.find(method))
        own = {name: value for name, value in self.parameters.items() if name in known and name not in options}
        options |= {"seed": self.seed, "no_report": True, "progress": self.progress}
        return train(method, *sources, out=out, **start, **own, **options)

    def probe(self, out: Path, start: dict[str, Any], labels: list[str] | None) -> Run:
        """Fit a linear probe to the frozen start, as a run: the head that cross-validation measures, whatever the
        parameters of `finetune` are."""
        fixed = {"freeze": "all", "probe": True, "balance": False, "epochs": 0}
        return self.train("finetune", self.source, out=out, start=start, labels=labels, **fixed)


@dataclass(frozen=True)
class Known:
    """A source as decoded by a run.

    Args:
        samples: all items, some of them labelled.
        bare: the source without its own labels, for methods that train without labels.
    """

    samples: Samples
    bare: Any

    @classmethod
    def of(cls, given: Given, run: Run) -> "Known":
        decoding = run.config["decoding"]  # the run itself does not keep data that are not in a file
        own = load_stream(given.source, given.kind, decoding).decodable()
        samples = own
        if given.labels:
            samples = load_stream(given.source, given.kind, decoding, labels=given.labels).decodable()
        bare = given.source if own.labels is None else own.with_labels(np.full(len(own), -1), ())
        return cls(samples, bare)

    @cached_property
    def rows(self) -> np.ndarray:
        """Positions of the labelled items."""
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
        """A digest of each labelled item's content [n]; copies have the same digest."""
        return self.samples.select(self.rows).digests()


def check(parameters: dict[str, Any], methods: list[str]) -> None:
    """Raises: UsageError: a parameter that none of the methods takes."""
    known = {name for method in methods for name in registry.parameters(registry.find(method))}
    if unknown := sorted(set(parameters) - known):
        raise UsageError(f"None of {', '.join(methods)} takes a parameter {unknown[0]!r}. Leave it out.")
