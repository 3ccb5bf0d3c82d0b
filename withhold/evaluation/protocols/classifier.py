"""The method's own answers, where it has learned to name classes, beside those of a probe with the same labels."""

from withhold.data import share_classes
from withhold.evaluation.features import scores
from withhold.evaluation.protocols.linear import answers
from withhold.evaluation.task import Task
from withhold.methods import Classifier

TOLD = True


def measure(task: Task) -> list[dict]:
    """The share of test items that it names rightly.

    Of a control, which has learned no names, it is what a linear probe of its features does that learns from the labels
    that the method was told. Of the encoder that a training began with, that is what the training had to beat.
    """
    if not isinstance(task.method, Classifier):
        return [] if task.train is None else [{"metric": "accuracy", "value": task.accuracy(answers(task)[0])}]
    said = scores(task.method, task.test, device=task.device).argmax(1).numpy()
    (_, truth), _ = share_classes([(None, task.method.classes), (task.test.labels, task.test.classes)])
    return [{"metric": "accuracy", "value": int((said == truth).sum()) / len(truth)}]
