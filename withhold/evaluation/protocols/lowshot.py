"""Low-shot: the linear probe with 1, 5 and 10 labels a class."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.evaluation.task import Task
from withhold.nets.logistic import fit

SHOTS = (1, 5, 10)
DRAWS = 5
STRENGTH = 1e-3  # fixed: it cannot be chosen with one label a class


def measure(task: Task) -> list[dict]:
    """Mean and standard deviation of the accuracy over five draws of the labelled items.

    Shots for which the smallest class has too few items are left out, and so are classes with one training item.

    Features are standardised by all training items, which needs no labels, and scaled to unit length: otherwise, with
    one label a class, a few large features would dominate.
    """
    task.require_known()
    task = task.with_pairs("random draws need at least two")
    mean, deviation = task.moments
    bank, queries = (F.normalize((part - mean) / deviation, dim=1) for part in (task.bank, task.queries))
    rng = torch.Generator().manual_seed(task.seed)
    rows = []
    for shots in (shots for shots in SHOTS if shots <= task.smallest):
        values = []
        for _ in range(DRAWS):
            drawn = draw(task.labels, shots, rng)
            classifier = fit(bank[drawn], task.labels[drawn], task.classes, STRENGTH)
            values.append(task.accuracy(classifier(queries).argmax(1)))
        spread, middle = torch.std_mean(torch.tensor(values))
        row = {"metric": "accuracy", "value": middle.item(), "deviation": spread.item()}
        rows.append(row | {"shots": shots, "n_train": len(drawn), "n_test": len(task.test)})
    return rows


def draw(labels: Tensor, shots: int, rng: torch.Generator) -> Tensor:
    """Draw the indices of `shots` random items of each class in labels [n]."""
    shuffled = torch.randperm(len(labels), generator=rng).to(labels.device)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    first = counts.cumsum(0) - counts
    return by_class[(first[counts > 0, None] + torch.arange(shots, device=labels.device)).flatten()]
