"""What is looked at while a run trains: a few items, and the numbers of them that the journal keeps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from withhold import evaluation, kinds, training
from withhold.data import Samples
from withhold.needs import Need
from withhold.training import Row


def choose(needs: Mapping[str, Need], streams: Mapping[str, Samples]) -> tuple[Samples, Samples]:
    """A bank and queries for the monitor, of long items the middle: items with labels that the method is not told.

    Where there are no such labels there are no queries: an accuracy on labels that were told says nothing.
    """
    told = {
        (samples.source, samples.names[row])
        for stream, samples in streams.items()
        if {"label", "targets"} & set(needs[stream].parts) and samples.labels is not None
        for row in np.flatnonzero(samples.labels >= 0)
    }

    def untold(samples: Samples) -> np.ndarray:
        known = np.zeros(len(samples), bool) if samples.labels is None else np.asarray(samples.labels) >= 0
        return known & [(samples.source, name) not in told for name in samples.names] if told else known

    known = {stream: untold(samples) for stream, samples in streams.items()}
    stream = next((stream for stream in streams if known[stream].any()), next(iter(streams)))
    samples = streams[stream]
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).numpy()
    if known[stream].any():
        order = order[known[stream][order]]
    most = max(200, 2000 // kinds.of(samples.kind).images(samples))  # it is looked at some twenty times a run
    queries = min(most // 4, len(order) // 4)
    bank = samples.select(order[queries : queries + most]).middles()
    return bank, samples.select(order[: queries if known[stream].any() else 0]).middles()


def look(encoder: Any, bank: Samples, queries: Samples) -> Row:
    """The monitor's numbers: rank, spread, and k-NN accuracy where there are queries."""
    device = next(encoder.parameters()).device
    features = evaluation.features(encoder, bank, device=device)
    row = {"rank": training.rank(features), "spread": training.spread(features)}
    if len(queries) and len(bank.classes) > 1:
        found = evaluation.knn(
            features,
            torch.as_tensor(bank.labels),
            evaluation.features(encoder, queries, device=device),
            len(bank.classes),
        )
        row["knn"] = (found == torch.as_tensor(queries.labels)).float().mean().item()
    return row
