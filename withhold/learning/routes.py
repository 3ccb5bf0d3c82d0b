"""Routes from few labels to a classifier: how each predicts held-out items, and how it is kept as a run."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from withhold import data, evaluation, kinds, nets
from withhold import methods as registry
from withhold.console import quiet
from withhold.files import write_csv
from withhold.learning import folds, propagation
from withhold.learning.given import Given, Known
from withhold.nets import logistic
from withhold.runs import Run
from withhold.runs.told import BEFORE, find_told, read_told, write_told
from withhold.training import defaults

MOST = 5000
"""Largest number of items that a head is fitted to, as in `Classifier.fit_head`."""
MANY = 10
"""Items for each label from which label propagation comes before logistic regression."""
TIMED, REPEATS = 32, 5
"""Windows used to time an encoder, and repetitions."""


@dataclass(frozen=True)
class Route:
    """A way to train a classifier.

    Args:
        name: its name in the table.
        answer: (training items, held-out items) -> scores of the held-out items [m, k].
        seconds: time limit of its measurement; the first repeat of the folds always runs, further ones only if they
            fit.
        keep: trains it on all labels in a new folder; None for a control, which cannot be kept.
        minutes: time budget of each training; 0 if nothing is trained.
    """

    name: str
    answer: Callable[[np.ndarray, np.ndarray], Tensor]
    seconds: float
    keep: Callable[[Path], Run] | None = None
    minutes: float = 0.0

    def measure(self, drawn: folds.Folds, count: int, classes: int) -> Tensor:
        """Cross-validated scores of `count` labelled items, float32 [repeats, n, k].

        Items that no fold holds out get 0.
        """
        began, found = time.perf_counter(), []
        for parts in drawn:
            scores = torch.zeros(count, classes)
            for known, held in parts:
                scores[held] = self.answer(known, held).float().cpu()
            found.append(scores)
            if (time.perf_counter() - began) / len(found) * (len(found) + 1) > self.seconds:
                break
        return torch.stack(found)


def raw(given: Given, known: Known, seconds: float) -> Route:
    """The control: logistic regression on the raw items, such as their pixels."""
    labelled = known.samples.select(known.rows)
    features = kinds.of(given.kind).raw(labelled, known.samples)
    answer = _probe(features, torch.as_tensor(known.labels), len(known.classes))
    return Route(f"{kinds.of(given.kind).control}, logistic regression", answer, seconds)


def frozen(
    given: Given, known: Known, features: Tensor, name: str, run: Run, start: dict, seconds: float
) -> list[Route]:
    """Two routes on frozen features [N, d]: logistic regression, with and without label propagation.

    The first one wins a tie. This is label propagation if there are many unlabelled items for each label: they help it
    by more than cross-validation on few labels can show.

    Args:
        name: name of the features.
        run: the run of a probe on all labels.
        start: the start of this run.
    """
    classes, labels = len(known.classes), torch.as_tensor(known.labels)
    graph = propagation.graph(features)
    propagated = run.folder.parent / f"{run.folder.name}-propagated.csv"

    def fit(told: np.ndarray, strength: float | None) -> tuple[logistic.Linear, float]:
        found = propagation.propagate(graph, known.rows[told], known.labels[told], classes)
        reached = torch.as_tensor(np.flatnonzero(found >= 0))
        chosen = torch.randperm(len(reached), generator=torch.Generator().manual_seed(given.seed))[:MOST]
        reached = reached[chosen.sort().values]
        return logistic.head(features[reached], torch.as_tensor(found)[reached], classes, strength=strength)

    strength = cache(lambda: fit(np.arange(len(known.rows)), None)[1])

    def answer(told: np.ndarray, asked: np.ndarray) -> Tensor:
        head, _ = fit(told, strength())
        return head(features[known.rows[asked]])

    def keep(folder: Path) -> Run:
        found = propagation.propagate(graph, known.rows, known.labels, classes)
        named: dict[str, str] = {}
        for item in (*known.rows, *np.flatnonzero(found >= 0)):  # an item that is listed twice keeps its given label
            named.setdefault(known.samples.names[item], known.classes[found[item]])
        write_csv(propagated, ["path", "label"], named.items())
        with quiet():  # warnings about the data were logged when they were first loaded
            kept = given.probe(folder, start, [str(propagated)])
        # Only the given labels count as seen: propagated ones are predictions, which evaluation may measure on.
        told = {"labelled": known.samples.select(known.rows)}
        earlier = [row for row in read_told(folder) if row["stream"] == BEFORE]
        write_told(folder, earlier + find_told(kept.cls.needs, told, kept.encoder.kind))
        return kept

    simple = _probe(features[known.rows], labels, classes)
    found = [
        Route(f"{name}, logistic regression", simple, seconds, lambda to: Run(shutil.copytree(run.folder, to))),
        Route(f"{name}, label propagation", answer, seconds, keep),
    ]
    return found[::-1] if len(features) > MANY * len(known.rows) else found


def trained(given: Given, known: Known, method: str, start: dict, minutes: float, scratch: Path) -> Route:
    """Train a classifier from `start` for `minutes`, with all items as unlabelled data if the method uses them."""
    others = len(registry.find(method).needs) - 1

    def answer(told: np.ndarray, asked: np.ndarray) -> Tensor:
        rest = [known.samples.with_labels(np.full(len(known.samples), -1), ())] * others
        labelled = known.samples.select(known.rows[told])
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            with quiet():
                run = given.train(method, labelled, *rest, out=Path(place) / "run", start=start, minutes=minutes)
            asking = known.samples.select(known.rows[asked])
            return evaluation.scores(run.method, asking, device=defaults.device())  # type: ignore[arg-type]

    def keep(folder: Path) -> Run:
        # A run can read data with an address again; its unlabelled streams take no labels from them.
        sources = (given.source, *[known.bare if data.address(given.source) is None else given.source] * others)
        return given.train(method, *sources, out=folder, start=start, minutes=minutes, labels=given.labels)

    return Route(method, answer, 0.0, keep, minutes)


def embedded(known: Known, run: Run, path: Path) -> tuple[Tensor, float]:
    """The features of all items, cached in the file `path`, and the encoder's seconds per window."""
    pace, device = path.with_suffix(".seconds"), defaults.device()
    if not pace.is_file():
        np.save(path, nets.features(run.encoder, known.samples, device=device).numpy())
        some, took = known.samples.windows(), []
        some = some.select(np.arange(min(TIMED, len(some))))
        for _ in range(REPEATS):  # the minimum is robust to other load on the machine
            began = time.perf_counter()
            nets.features(run.encoder, some, device=device)
            took.append((time.perf_counter() - began) / len(some))
        pace.write_text(str(min(took)))
    return torch.from_numpy(np.load(path)), float(pace.read_text())


def _probe(features: Tensor, labels: Tensor, classes: int) -> Callable[[np.ndarray, np.ndarray], Tensor]:
    """Answers by logistic regression on features [n, d].

    All folds use the strength that the kept probe has. With strengths of their own, chosen on the few labels of each
    fold, their scores would have other scales, and the temperature fitted to these would not suit the kept probe.
    """
    strength = cache(lambda: logistic.head(features, labels, classes)[1])

    def answer(told: np.ndarray, asked: np.ndarray) -> Tensor:
        head, _ = logistic.head(features[told], labels[told], classes, strength=strength())
        return head(features[asked])

    return answer
