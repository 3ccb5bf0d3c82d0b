"""What is looked at while a run trains: a few items, and the numbers of them that the journal keeps."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from withhold import evaluation, kinds, nets, training
from withhold.data import Samples
from withhold.needs import Need
from withhold.training import Row


def choose(
    needs: Mapping[str, Need], streams: Mapping[str, Samples], told: Collection[str] = ()
) -> tuple[Samples, Samples]:
    """A bank and queries for the monitor, of long items the middle: items with labels that the method is not told.

    Where there are no such labels there are no queries: an accuracy on labels that were told says nothing.

    Args:
        told: digests of items whose labels were told before, by an earlier training.
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
    most = max(200, 1000 // kinds.of(samples.kind).images(samples))  # a look takes little of a training's time
    count = min(most // 4, len(rows) // 4)
    bank, asked = samples.select(rows[count : count + most]), rows[: count if known.get(stream) else 0]
    return bank.middles(), samples.select(asked).middles()


def look(encoder: Any, bank: Samples, queries: Samples) -> Row:
    """The monitor's numbers: rank, spread, and k-NN accuracy where there are queries."""
    device = next(encoder.parameters()).device
    features = nets.features(encoder, bank, device=device)
    row = {"rank": training.rank(features), "spread": training.spread(features)}
    if len(queries) and len(bank.classes) > 1:
        asked = nets.features(encoder, queries, device=device)
        found = evaluation.knn(features, torch.as_tensor(bank.labels), asked, len(bank.classes))
        row["knn"] = (found == torch.as_tensor(queries.labels)).float().mean().item()
    return row
