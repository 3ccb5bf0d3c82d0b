"""The linear probe: logistic regression on standardised features."""

import torch
from torch import Tensor

from withhold.evaluation.task import Task
from withhold.nets.logistic import probe


def measure(task: Task) -> list[dict]:
    """The accuracy of logistic regression on all training items, with a strength chosen on a held-out part of them.

    Classes with only one training item are left out.
    """
    task.require_known()
    task = task.with_pairs("a linear probe needs two, one of them to choose its strength")
    found, strength = answers(task)
    row = {"metric": "accuracy", "value": task.accuracy(found), "strength": strength}
    return [row | {"n_train": len(task.train), "n_test": len(task.test)}]


def answers(task: Task) -> tuple[Tensor, float]:
    """Predict the class of each test item, int64 [m], by a fit to the training items; also returns its strength."""
    mean, deviation = task.moments
    rng = torch.Generator().manual_seed(task.seed)
    classifier, strength = probe((task.bank - mean).div_(deviation), task.labels, task.classes, rng)
    return classifier((task.queries - mean).div_(deviation)).argmax(1), strength
