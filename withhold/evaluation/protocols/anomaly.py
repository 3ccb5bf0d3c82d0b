"""Anomaly detection: finding the test items of classes that do not occur in the training items."""

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from withhold.errors import UsageError
from withhold.evaluation.task import Task

NEIGHBOURS = 2
CHUNK = 2**24  # distances at a time: 64 MB


def measure(task: Task) -> list[dict]:
    """The area under the ROC curve and the average precision of an anomaly score.

    For every encoder and raw items, the score is the distance to the nearest training items ("k-NN"), all of which are
    assumed to be normal. A method with its own anomaly score is also measured by that ("own"). "chance" is the value
    for a random order.
    """
    strange = ~torch.isin(task.answers, task.labels).cpu()
    if strange.all() or not strange.any():
        raise UsageError(
            f"The protocol anomaly needs test items in {task.test.source} of the classes of {task.train.source}, which "
            f"are normal, and of other classes, but {'all' if strange.any() else 'none'} are of other classes. Give a "
            "folder with train/good/, test/good/ and test/bad/, where good and bad may have any names."
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
    bank, queries = bank - bank.mean(0), queries - bank.mean(0)  # a large mean would cost precision
    parts = queries.split(max(1, CHUNK // len(bank)))
    found = [torch.cdist(part, bank).topk(min(NEIGHBOURS, len(bank)), largest=False).values for part in parts]
    return torch.cat(found).square().mean(1)
