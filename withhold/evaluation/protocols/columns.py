"""Columns: prediction of a table's columns, classes or numbers, by a probe on features and by the method itself."""

import logging
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from withhold.console import counted
from withhold.data import share_classes
from withhold.errors import UsageError
from withhold.evaluation.protocols import linear
from withhold.evaluation.protocols.keypoints import regress
from withhold.evaluation.task import Task

log = logging.getLogger("withhold")

TAKES = "items + targets"


def measure(task: Task) -> list[dict]:
    """For each column of both parts: the accuracy for classes, R2 and the mean absolute error for numbers.

    "by" is "features" for a linear probe or ridge regression on the training items, and "answers" for the predictions
    of a method that has learned columns. A column with too few known values in a part is left out, and so are test
    items of a class that no training item has; warnings name them.
    """
    learned = list(getattr(task.method, "targets", ())) if task.row == "trained" else []
    both = {name: target for name, target in task.train.targets.items() if name in task.test.targets}
    names = [name for name, target in both.items() if name in learned or not target.names_items]
    left = ", ".join(name for name in both if name not in names)
    if left and (task.row == "trained" or task.method is None):
        log.warning("columns left out because they name items or files: %s", left)
    if not names:
        other = f" except those that name items or files ({left})" if left else ""
        raise UsageError(
            f"{task.train.source} and {task.test.source} have no column in common{other}. Give both the same columns."
        )
    said = task.said("targets", task.test) if learned else None
    rows = []
    for name in names:
        own = None if said is None or name not in learned else said[:, learned.index(name)].numpy()
        try:
            rows += [{"column": name, **row} for row in _column(task, name, own)]
        except UsageError as reason:  # the other columns are not affected
            log.warning("the column %s is left out. %s", name, reason)
    if not rows:
        raise UsageError(
            f"No column of {task.test.source} can be measured; the warnings give the reasons ({', '.join(names)}). "
            "Give both parts more known values of a column."
        )
    return rows


def _column(task: Task, name: str, own: np.ndarray | None) -> list[dict]:
    known, asked = task.train.targets[name], task.test.targets[name]
    for part, target in (("training", known), ("test", asked)):
        if target.known.sum() < 2:
            raise UsageError(f"Fewer than two {part} items have a known value. Fill in more cells.")
    if (known.classes is None) != (asked.classes is None):
        raise UsageError("It holds classes in one part and numbers in the other. Use the same in both.")
    return _numbers(task, name, own) if known.classes is None else _classes(task, name, own)


def _classes(task: Task, name: str, own: np.ndarray | None) -> list[dict]:
    parts, rows = [], []
    for samples in (task.train, task.test):
        target = samples.targets[name]
        rows.append(np.flatnonzero(target.values >= 0))
        parts.append(samples.select(rows[-1]).with_labels(target.values[rows[-1]], target.classes or ()))
    labelled = replace(task, train=parts[0], test=parts[1])
    taught = torch.isin(labelled.answers, labelled.labels).cpu().numpy()
    if not taught.any():
        raise UsageError("No test item has a class of a training item. Give both parts the same classes.")
    if not taught.all():
        new = [parts[1].classes[label] for label in np.unique(labelled.truth.cpu().numpy()[~taught])]
        log.warning(
            "column %s: %s left out, of classes without a training item: %s",
            name, counted((~taught).sum(), "test item"), ", ".join(map(repr, new)),
        )  # fmt: skip
        rows[1], parts[1] = rows[1][taught], parts[1].select(np.flatnonzero(taught))
        labelled = replace(labelled, test=parts[1])
    labelled.__dict__.update(bank=task.bank[rows[0]], queries=task.queries[rows[1]])  # avoids computing them again
    found = [{**row, "by": "features"} for row in linear.measure(labelled)]
    if own is not None:
        numbers = own[rows[1]].astype(int)
        named = [(numbers, cast(Any, task.method).targets[name]), (parts[1].labels, parts[1].classes)]
        (said, truth), _ = share_classes(named)
        right = said == truth
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
