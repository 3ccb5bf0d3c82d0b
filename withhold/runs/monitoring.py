"""What is looked at while a run trains: a few items, and the numbers of them that the journal keeps."""

import torch
from torch import nn

from withhold import evaluation, training
from withhold.data import Samples
from withhold.training import Row


def choose(streams: dict[str, Samples]) -> tuple[Samples, Samples]:
    """A bank and queries for the monitor: labelled items where there are any, of long ones the middle."""
    known = [s for s in streams.values() if s.labels is not None and (s.labels >= 0).any()]
    samples = (known or list(streams.values()))[0]
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).numpy()
    if samples.labels is not None:
        order = order[samples.labels[order] >= 0]
    images = samples.shape[0] if samples.kind.startswith("video") else 4 if samples.kind == "text" else 1
    most = max(200, 2000 // images)  # it is looked at some twenty times a run
    queries = min(most // 4, len(order) // 4)
    return samples.select(order[queries : queries + most]).middles(), samples.select(order[:queries]).middles()


def look(encoder: nn.Module, bank: Samples, queries: Samples) -> Row:
    """The monitor's numbers: rank, spread, and k-NN accuracy where there are labels."""
    device = next(encoder.parameters()).device
    features = evaluation.features(encoder, bank, device=device)
    row = {"rank": training.rank(features), "spread": training.spread(features)}
    if bank.labels is not None and len(bank.classes) > 1 and len(queries):
        found = evaluation.knn(
            features,
            torch.as_tensor(bank.labels),
            evaluation.features(encoder, queries, device=device),
            len(bank.classes),
        )
        row["knn"] = (found == torch.as_tensor(queries.labels)).float().mean().item()
    return row
