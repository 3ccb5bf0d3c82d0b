"""Choosing the items to label next, from an encoder's features or a classifier's probabilities."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import torch

from withhold import data, evaluation, labelling, nets
from withhold.data import Samples
from withhold.runs.embedder import Embedder, utf8
from withhold.runs.loading import load
from withhold.runs.saying import warn_of_spellings
from withhold.training import defaults

log = logging.getLogger("withhold")


def label(
    run: str | Path | Embedder,
    source: Any,
    n: int = 20,
    *,
    strategy: str | None = None,
    labels: data.Labels | None = None,
    seed: int = 0,
    strict: bool = False,
) -> pyarrow.Table:
    """Return the `n` items of `source` to label next, best first: a table with path, guess, probability, score, why.

    "guess" is the class that the run's classifier predicts if it was trained on labels, otherwise that of a linear
    probe on the known labels, otherwise null. Items that have a label, or whose label the training was given, are left
    out. Labels in `source` itself count only if some of its items have none: sub-folders would label every item.

    The schema's metadata hold, as JSON under "withhold", the address of the source, the kind of its items, the
    strategy, and the known labels.

    Args:
        run: a run, or what `withhold.load` takes.
        strategy: a name in `withhold.labelling.STRATEGIES`; by default it depends on the number of labels.
        labels: a file with the known labels; empty ones count as missing.
        seed: seed of random choices.

    Raises:
        UsageError: fewer than `n` items have no label, or the strategy is unknown or lacks what it needs.
    """
    run = run if isinstance(run, Embedder) else load(run)
    samples = run.load_data(source, labels=labels, strict=strict)
    device, classifier = defaults.device(), run.classifier
    features, scores = nets.features(copy.deepcopy(run.encoder), samples, device=device), None
    if classifier is not None and classifier.taught:
        scores = evaluation.scores(copy.deepcopy(classifier), samples, device=device)
    kept = samples.readable()  # in place of unreadable items, the network saw their neighbours
    samples = samples.select(kept)
    known = _known(samples, labels is not None)
    warn_of_spellings(samples.classes, known[known >= 0].bincount(minlength=len(samples.classes)).tolist())
    found = labelling.rank(
        features[kept], n, known, told=torch.from_numpy(run.was_told(samples)),
        probabilities=None if scores is None else scores[kept].softmax(1), strategy=strategy, seed=seed,
        source=samples.source,
    )  # fmt: skip
    columns: dict[str, Any] = {"path": utf8(samples.select(found.items).names)}
    nothing = pyarrow.nulls(n)
    columns |= {"guess": nothing.cast(pyarrow.string()), "probability": nothing.cast(pyarrow.float32())}
    if found.probabilities is not None:
        classes = utf8(samples.classes if scores is None else classifier.classes)  # type: ignore[union-attr]
        columns["guess"] = [classes[i] for i in found.probabilities.argmax(1).tolist()]
        columns["probability"] = found.probabilities.amax(1).numpy()
    columns |= {"score": found.scores.numpy(), "why": found.why}
    about: dict[str, Any] = {"kind": samples.kind, "strategy": found.strategy, "known": []}
    about["source"] = data.address(source)
    if (known >= 0).any():
        rows = np.flatnonzero(known >= 0)
        named = zip(utf8(samples.select(rows).names), known[rows].tolist(), strict=True)
        about["known"] = [[name, utf8(samples.classes)[number]] for name, number in named]
    return pyarrow.table(columns).replace_schema_metadata({"withhold": json.dumps(about)})


def _known(samples: Samples, said: bool) -> torch.Tensor:
    """The known classes of the items, int64 [n], -1 for none; `said` is whether they come from a file of labels."""
    if samples.labels is not None and not said and (samples.labels >= 0).all():
        log.info("%s labels every item itself: these labels are ignored, give known ones as --labels", samples.source)
    elif samples.labels is not None:
        return torch.from_numpy(samples.labels)
    return torch.from_numpy(np.full(len(samples), -1))
