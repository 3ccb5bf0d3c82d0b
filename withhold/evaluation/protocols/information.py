"""Information: confidence and balance of a classifier's predictions, measured without labels."""

import math

import torch

from withhold.errors import UsageError
from withhold.evaluation.features import scores
from withhold.evaluation.task import Task
from withhold.methods import Classifier

TAKES, TOLD, ANSWERS = "items", True, True


def measure(task: Task) -> list[dict]:
    """The mutual information of items and predicted classes, as a share of its maximum: 1 is confident and balanced.

    It is the entropy of the mean prediction minus the mean entropy of the predictions, divided by the logarithm of the
    number of classes. Among trainings of one method on the same data, the one with the highest value is probably the
    best, if the classes are about equally frequent. Collapsed and uncertain predictions have low values; confident but
    wrong ones have high values.

    Source: Bridle, Heading & MacKay, NIPS 1991, equation 4.
    """
    if not isinstance(task.method, Classifier):
        raise UsageError("The protocol information needs a classifier. Use a run of a method that predicts classes.")
    shares = scores(task.method, task.test, device=task.device).softmax(1)
    found = torch.special.entr(shares.mean(0)).sum() - torch.special.entr(shares).sum(1).mean()
    return [{"metric": "MI", "value": found.item() / math.log(shares.shape[1])}]
