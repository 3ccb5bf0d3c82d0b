"""Fine-tuning: the whole network is trained on the labels, starting from the encoder's weights."""

from withhold.evaluation.features import scores
from withhold.evaluation.supervised import train
from withhold.evaluation.task import Task


def measure(task: Task) -> list[dict]:
    """The accuracy after fine-tuning for the task's budget of images; raw items have no row."""
    if task.encoder is None:
        return []
    task.require_known()
    tuned = train(
        task.encoder, task.train, learned=task.row != "untrained", images=task.budget, seed=task.seed,
        device=task.device, flip=task.flip,
    )  # fmt: skip
    said = scores(tuned, task.test, device=task.device).argmax(1)
    return [{"metric": "accuracy", "value": task.accuracy(said)}]
