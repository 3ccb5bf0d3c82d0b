"""Information: how sure a method's answers are, and how evenly spread over the classes, where no item has a label."""

import math

import torch

from withhold.errors import UsageError
from withhold.evaluation.features import scores
from withhold.evaluation.task import Task
from withhold.methods import Classifier

TAKES, TOLD, ANSWERS = "items", True, True


def measure(task: Task) -> list[dict]:
    """The mutual information of items and answers, as a share of the most that there can be: 1 is sure, and even.

    It is the entropy of the mean answer less the mean entropy of the answers, over the logarithm of the number of
    classes. Of trainings of one method on the same data, the one that has most of it is a guess at the best, as long as
    the classes are about as frequent as each other: a collapse of the answers has none, and so have doubts. What is
    surely wrong has much.

    Source: Bridle, Heading & MacKay, NIPS 1991, equation 4.
    """
    if not isinstance(task.method, Classifier):
        if task.row == "trained":
            raise UsageError("information is measured of a method that names classes: give a run of one.")
        return []
    shares = scores(task.method, task.test, device=task.device).softmax(1)
    found = torch.special.entr(shares.mean(0)).sum() - torch.special.entr(shares).sum(1).mean()
    return [{"metric": "MI", "value": found.item() / math.log(shares.shape[1])}]
