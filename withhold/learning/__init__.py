"""Learning from a folder and a few labels: which way from these to a classifier is worth it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.files import filling
from withhold.learning.given import Given, check
from withhold.learning.walk import FROM_ALL, WITHOUT_LABELS, Walk
from withhold.report.routes import FILE
from withhold.runs import Run
from withhold.runs.folder import folder_of
from withhold.training import Row, defaults

__all__ = ["learn"]

log = logging.getLogger("withhold")


def learn(
    source: Any,
    *,
    labels: data.Labels | None = None,
    minutes: float | None = None,
    encoder: str | None = None,
    pretrained: bool = False,
    size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[Row, int], None] | None = None,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    **parameters: Any,
) -> Run:
    """Find the best way from a source and a few labels to a classifier, and train it; gives its run.

    Routes are compared by repeated stratified cross-validation on the given labels alone, the simple ones first; the
    simplest of those that are as good as the best is trained on all labels, and its probabilities are calibrated. The
    run's learn.json has a row for each route, and what looks mislabelled. What is interrupted goes on from the routes
    that were measured when it is called again, and until then the run is the best one so far.

    Args:
        source: a folder, manifest, array ...: whatever `withhold.data.load` takes.
        labels: a file with the labels of some items, a csv table with the columns path and label, or several such
            files; by default those that the source has.
        minutes: how long a person waits.
        encoder, pretrained, size: what to start from, as for `train`; by default published weights where these are
            installed, in the size that the minutes bear.
        seed: of folds, weights and views.
        out: the run's folder; `runs/learn-DATA` where it is not named.
        progress: told every row of a training's journal, and the number of steps planned.
        report: told every route's row as soon as it is measured.
        parameters: of the methods that are tried, such as seconds=0.5 for sounds; each takes those that it knows.

    Raises:
        UsageError: a name or value that makes no sense, no labels, or a folder that holds something else.
    """
    kind = data.holds(source, registry.find("finetune").needs["labelled"].kinds)
    check(parameters, ["finetune", *(tried[kind] for tried in (WITHOUT_LABELS, FROM_ALL) if kind in tried)])
    minutes = minutes or defaults.minutes(defaults.device())
    files = data.label_files(labels)
    given = Given(source, list(map(str, files)) or None, kind, minutes, seed, parameters, progress)
    given.check_labels()
    folder = folder_of("learn", (source,), out)
    asked = {
        "data": data.address(source), "labels": [str(path.absolute()) for path in files] or None, "minutes": minutes,
        "encoder": encoder, "pretrained": pretrained, "size": size, "seed": seed, "parameters": parameters,
    }  # fmt: skip
    with filling(folder, lambda: (folder / FILE).is_file()):
        walk = Walk(folder, given, asked, report)
        if walk.state["finished"]:
            log.info("%s is finished", folder)
        else:
            walk.go(encoder, pretrained, size)
    return Run(folder)
