"""Anomaly detection: test items of classes that no training item has are to be told from the others."""

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from withhold.errors import UsageError
from withhold.evaluation.task import Task

NEIGHBOURS = 2
CHUNK = 2**24  # distances at a time: 64 MB


def measure(task: Task) -> list[dict]:
    """The area under the ROC curve and the average precision of what is larger for anomalies.

    For every encoder, and raw items, that is the distance to the nearest training items ("k-NN"), which are all taken
    to be normal; and for a method that says itself how strange an item is, what it says ("own"). "chance" is what a
    random order is worth.
    """
    strange = ~torch.isin(task.answers, task.labels).cpu()
    if strange.all() or not strange.any():
        raise UsageError(
            f"anomaly needs items in {task.test.source} of the classes of {task.train.source}, which are normal, and "
            f"items of other classes; {'all' if strange.any() else 'none'} of them are of others: give a folder "
            "with train/good/, test/good/ and test/bad/, the last two by any name."
        )
    scores = {"k-NN": distances(task.bank, task.queries), "own": task.said("anomaly", task.test)}
    metrics = {"AUROC": (roc_auc_score, 0.5), "AP": (average_precision_score, strange.float().mean().item())}
    return [
        {"metric": metric, "value": float(of(strange, said.cpu())), "chance": chance, "by": by}
        for by, said in scores.items() if said is not None
        for metric, (of, chance) in metrics.items()
    ]  # fmt: skip


def distances(bank: Tensor, queries: Tensor) -> Tensor:
    """The mean squared distance of each query [m, d] to its two nearest items of `bank` [n, d]: float [m].

    Source: Bergman, Cohen & Hoshen, arXiv 2002.10445, 2020, equation 1.
    """
    bank, queries = bank - bank.mean(0), queries - bank.mean(0)  # a large mean would take the digits of a difference
    parts = queries.split(max(1, CHUNK // len(bank)))
    found = [torch.cdist(part, bank).topk(min(NEIGHBOURS, len(bank)), largest=False).values for part in parts]
    return torch.cat(found).square().mean(1)
