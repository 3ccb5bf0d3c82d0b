"""The method's own answers, where it has learned to name classes."""

import numpy as np

from withhold.data import share_classes
from withhold.evaluation.features import scores
from withhold.evaluation.task import Task


def measure(task: Task) -> list[dict]:
    """The share of test items that it names rightly; what has learned no names gives no row."""
    if task.classifier is None:
        return []
    task.require_known()
    said = scores(task.classifier, task.test, device=task.device).argmax(1).numpy()
    (_, truth), _ = share_classes([(None, task.classifier.classes), (np.asarray(task.test.labels), task.test.classes)])
    return [{"metric": "accuracy", "value": float((said == truth).mean())}]
