"""Columns: prediction of a table's columns, classes or numbers, by a probe on features and by the method itself."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score

from withhold.errors import UsageError
from withhold.evaluation.protocols import linear
from withhold.evaluation.protocols.keypoints import regress
from withhold.evaluation.task import Task

TAKES = "items + targets"


def measure(task: Task) -> list[dict]:
    """For each column of both parts: the accuracy for classes, R2 and the mean absolute error for numbers.

    "by" is "features" for a linear probe or ridge regression on the training items, and "answers" for the predictions
    of a method that has learned columns.
    """
    learned = list(getattr(task.method, "targets", ())) if task.row == "trained" else []
    names = [
        name for name, target in task.train.targets.items()
        if name in task.test.targets and (name in learned or not target.names_items)
    ]  # fmt: skip
    if not names:
        raise UsageError(
            f"{task.train.source} and {task.test.source} have no column in common. Give both the same columns."
        )
    said = task.said("targets", task.test) if learned else None
    rows = []
    for name in names:
        known, asked = task.train.targets[name], task.test.targets[name]
        if (known.classes is None) != (asked.classes is None):
            raise UsageError(
                f"The column {name} holds classes in one part and numbers in the other. Use the same in both."
            )
        own = None if said is None or name not in learned else said[:, learned.index(name)].numpy()
        measured = _numbers(task, name, own) if known.classes is None else _classes(task, name, own)
        rows += [{"column": name, **row} for row in measured]
    return rows


def _classes(task: Task, name: str, own: np.ndarray | None) -> list[dict]:
    parts, rows = [], []
    for samples in (task.train, task.test):
        target = samples.targets[name]
        rows.append(np.flatnonzero(target.values >= 0))
        parts.append(samples.select(rows[-1]).with_labels(target.values[rows[-1]], target.classes or ()))
    labelled = replace(task, train=parts[0], test=parts[1])
    labelled.__dict__.update(bank=task.bank[rows[0]], queries=task.queries[rows[1]])  # avoids computing them again
    found = [{**row, "by": "features"} for row in linear.measure(labelled)]
    if own is not None:
        taught = cast(Any, task.method).targets[name]
        truth = [parts[1].classes[label] for label in np.asarray(parts[1].labels)]
        right = [taught[number] == name for number, name in zip(own[rows[1]].astype(int), truth, strict=True)]
        found.append({"metric": "accuracy", "value": float(np.mean(right)), "n_test": len(right), "by": "answers"})
    return found


def _numbers(task: Task, name: str, own: np.ndarray | None) -> list[dict]:
    known, asked = (part.targets[name].values for part in (task.train, task.test))
    rows = np.isfinite(asked)
    said = {"features": regress(task.bank.cpu().numpy(), task.queries.cpu().numpy(), known[:, None, None])[:, 0, 0]}
    said |= {} if own is None else {"answers": own}
    return [
        {
            "metric": "r2", "value": float(r2_score(asked[rows], numbers[rows])),
            "mean_absolute_error": float(mean_absolute_error(asked[rows], numbers[rows])),
            "n_train": int(np.isfinite(known).sum()), "n_test": int(rows.sum()), "by": by,
        }
        for by, numbers in said.items()
    ]  # fmt: skip
