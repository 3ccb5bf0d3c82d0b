"""The method's own answers, where it has learned to name classes."""

from withhold.data import share_classes
from withhold.evaluation.features import scores
from withhold.evaluation.task import Task
from withhold.methods import Classifier


def measure(task: Task) -> list[dict]:
    """The share of test items that it names rightly; what has learned no names gives no row."""
    if not isinstance(task.method, Classifier):
        return []
    task.require_known()
    said = scores(task.method, task.test, device=task.device).argmax(1).numpy()
    (_, truth), _ = share_classes([(None, task.method.classes), (task.test.labels, task.test.classes)])
    return [{"metric": "accuracy", "value": int((said == truth).sum()) / len(truth)}]
