"""The method's own answers, where it has learned to name classes."""

from withhold.evaluation.features import scores
from withhold.evaluation.task import Task


def measure(task: Task) -> list[dict]:
    """The share of test items that it names rightly; what has learned no names gives no row."""
    if task.classifier is None:
        return []
    task.require_known()
    said = scores(task.classifier, task.test, device=task.device).argmax(1).tolist()
    truth = [task.test.classes[i] for i in task.test.labels]
    right = sum(task.classifier.classes[i] == name for i, name in zip(said, truth, strict=True))
    return [{"metric": "accuracy", "value": right / len(truth)}]
