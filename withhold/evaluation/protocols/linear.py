"""The linear probe: logistic regression on standardised features."""

import torch
from torch import Tensor

from withhold.evaluation.task import Task
from withhold.nets.logistic import probe


def measure(task: Task) -> list[dict]:
    """The strength that a held-out part of the training items likes best; then a fit on all of them.

    Classes with one training item are left out.
    """
    task.require_known()
    task = task.with_pairs("a linear probe needs two, one to choose its strength by")
    found, strength = answers(task)
    row = {"metric": "accuracy", "value": task.accuracy(found), "strength": strength}
    return [row | {"n_train": len(task.train), "n_test": len(task.test)}]


def answers(task: Task) -> tuple[Tensor, float]:
    """The class that a fit to the training items gives to each test item, int64 [m], and its strength."""
    mean, deviation = task.moments
    rng = torch.Generator().manual_seed(task.seed)
    classifier, strength = probe((task.bank - mean).div_(deviation), task.labels, task.classes, rng)
    return classifier((task.queries - mean).div_(deviation)).argmax(1), strength
