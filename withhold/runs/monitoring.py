"""The samples that the monitor measures during training, and the numbers that it writes to the journal."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from withhold import evaluation, kinds, nets, training
from withhold.data import Samples
from withhold.methods import Classifier, Method
from withhold.needs import Need
from withhold.training import Row

ASKED, NEARLY, RATHER = 128, 0.98, 0.9
"""Number of predictions; the share of them that is nearly all, and a share of labels that could explain it."""
MANY, TIMES = 0.4, 4
"""A share of predictions that is suspicious if it is that many times the share of labels."""


def choose(
    needs: Mapping[str, Need], streams: Mapping[str, Samples], told: Collection[str] = ()
) -> tuple[Samples, Samples]:
    """Choose a bank and queries for the monitor: items with labels that the method is not given.

    Of long items the middle is taken. Without unused labels there are no queries, because accuracy on labels that were
    used in training says nothing.

    Args:
        told: digests of items whose labels an earlier training was given.
    """
    told = set(told) | {
        digest
        for stream, samples in streams.items()
        if {"label", "targets"} & set(needs[stream].parts) and samples.labels is not None
        for digest in samples.select(np.flatnonzero(samples.labels >= 0)).digests()
    }

    def shuffled(samples: Samples) -> list[int]:
        return torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist()

    known = {}
    for stream, samples in streams.items():
        if samples.labels is not None:
            rows = [i for i in shuffled(samples) if samples.labels[i] >= 0]
            digests = samples.select(rows).digests() if told else [""] * len(rows)
            known[stream] = [i for i, digest in zip(rows, digests, strict=True) if digest not in told]
    stream = next((stream for stream, rows in known.items() if rows), next(iter(streams)))
    samples, rows = streams[stream], known.get(stream) or shuffled(streams[stream])
    most = max(200, 1000 // kinds.of(samples.kind).images(samples))  # keeps the monitor's share of the time small
    count = min(most // 4, len(rows) // 4)
    bank, asked = samples.select(rows[count : count + most]), rows[: count if known.get(stream) else 0]
    return bank.middles(), samples.select(asked).middles()


def look(encoder: Any, bank: Samples, queries: Samples) -> Row:
    """Return the monitor's numbers: rank, spread, and k-NN accuracy if there are queries."""
    device = next(encoder.parameters()).device
    features = nets.features(encoder, bank, device=device)
    row = {"rank": training.rank(features), "spread": training.spread(features)}
    if len(queries) and len(bank.classes) > 1:
        asked = nets.features(encoder, queries, device=device)
        found = evaluation.knn(features, torch.as_tensor(bank.labels), asked, len(bank.classes))
        row["knn"] = (found == torch.as_tensor(queries.labels)).float().mean().item()
    return row


def one_class(learner: Method, streams: Mapping[str, Samples], device: torch.device) -> dict[str, Any] | None:
    """The class that a classifier predicts for too many unlabelled training items, if the labels do not explain it.

    Guesses for unlabelled items can teach the same answer for all or most of them, while the few labelled items, known
    by heart, are still classified correctly.

    Returns:
        the class, the share of the predictions, and the share of the labels; None if the predictions vary.
    """
    others = [samples for name, samples in streams.items() if not learner.needs[name].labelled]
    if not isinstance(learner, Classifier) or not others or len(others) == len(streams):
        return None
    labels = np.concatenate([streams[name].labels for name, need in learner.needs.items() if need.labelled])
    rows = torch.randperm(len(others[0]), generator=torch.Generator().manual_seed(0))[:ASKED]
    said = evaluation.scores(learner, others[0].select(rows.numpy()).middles(), device=device).argmax(1)
    shares = said.bincount(minlength=len(learner.classes)) / len(said)
    number = int(shares.argmax())
    told = float((labels[labels >= 0] == number).mean())
    nearly_all = shares[number] >= NEARLY and told <= RATHER
    if not nearly_all and not (shares[number] >= MANY and shares[number] >= TIMES * told):
        return None
    return {"class": learner.classes[number], "predicted": float(shares[number]), "told": told}
