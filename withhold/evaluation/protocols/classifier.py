"""The predictions of a classifier, compared with a probe trained on the same labels."""

import logging

import numpy as np
import torch

from withhold.console import counted
from withhold.data import share_classes
from withhold.evaluation.features import scores
from withhold.evaluation.protocols.linear import answers
from withhold.evaluation.task import Task
from withhold.methods import Classifier

TOLD = True

log = logging.getLogger("withhold")


def measure(task: Task) -> list[dict]:
    """The accuracy on the test items.

    For a control, which has no classifier, it is that of a linear probe on its features, trained on the labels that the
    method was given. With the encoder that training started from, this is the accuracy that the training has to exceed.
    """
    if not isinstance(task.method, Classifier):
        if task.train is None or not torch.isin(task.answers, task.labels).any():
            return []
        return [{"metric": "accuracy", "value": task.accuracy(answers(task)[0])}]
    said = scores(task.method, task.test, device=task.device).argmax(1).numpy()
    (_, truth), names = share_classes([(None, task.method.classes), (task.test.labels, task.test.classes)])
    if task.method.taught and (others := truth >= len(task.method.classes)).any():
        unknown = ", ".join(names[label] for label in np.unique(truth[others]))
        if others.all():
            log.warning("the method knows none of the classes of the test data: %s", unknown)
            return []
        count = counted(int(others.sum()), "item")
        log.warning("%s of a class that the method does not know count as errors: %s", count, unknown)
    return [{"metric": "accuracy", "value": int((said == truth).sum()) / len(truth)}]
