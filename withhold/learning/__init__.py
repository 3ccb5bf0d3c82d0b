"""Training a classifier from a folder and few labels, by comparing several routes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.console import once
from withhold.files import filling
from withhold.learning.given import Given, check
from withhold.learning.walk import FROM_ALL, WITHOUT_LABELS, Walk
from withhold.options import Options
from withhold.report.routes import FILE
from withhold.runs import Run
from withhold.runs.folder import folder_of
from withhold.training import Row, defaults

__all__ = ["learn"]

log = logging.getLogger("withhold")


@once()  # every route is trained on the same data, about which training warns
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
    """Train the best classifier from a source and few labels, and return its run.

    Routes are compared by repeated stratified cross-validation on the given labels, the cheap ones first. The first
    route, controls apart, within one standard error of the best is trained on all labels, and its probabilities are
    calibrated. The run's learn.json has a row for each route and the items that look mislabelled. If interrupted, the
    same call resumes after the routes that were measured; until then the run is the best classifier so far.

    Args:
        source: a folder, manifest, array ..., as `withhold.data.load` takes it.
        labels: one or several csv files with the columns path and label, for some of the items; by default the labels
            of the source.
        minutes: time budget; by default 10 on a CPU and 30 on a GPU.
        encoder, pretrained, size: what to start from, as for `train`; by default pretrained weights if they are
            installed, at a size that fits the minutes.
        seed: seed of folds, weights and views.
        out: the run folder; by default `runs/learn-DATA`.
        progress: called with every row of a training's journal and the number of planned steps.
        report: called with the row of every route once it is measured.
        parameters: parameters of the methods, such as seconds=0.5 for sounds; each method takes those that it has.

    Raises:
        UsageError: an invalid name or value, no labels, or a folder that holds something else.
    """
    kind = data.holds(source, registry.find("finetune").needs["labelled"].kinds)
    check(parameters, ["finetune", *(tried[kind] for tried in (WITHOUT_LABELS, FROM_ALL) if kind in tried)])
    minutes = defaults.minutes(defaults.device()) if minutes is None else minutes
    Options(minutes=minutes, size=size, seed=seed)  # checks them
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
