"""Comparison of several runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from withhold.console import CONTROLS, column
from withhold.data import known
from withhold.errors import UsageError
from withhold.evaluation import by_data

if TYPE_CHECKING:
    from withhold.runs import Run
    from withhold.runs.embedder import Embedder

ASKED = {"label": ("linear", "accuracy"), "mask": ("segmentation", "mean IoU"), "boxes": ("detection", "AP50")}
"""By kind of annotation: the protocol that measures encoders on it, and its metric."""


def compare(runs: Iterable["Run"]) -> list[dict[str, Any]]:
    """The settings, cost and results of each run, ready for JSON: one row per run and dataset it was measured on.

    A row is {"run", "method", "encoder", "data", "seed", "steps", "seconds", "loss"} (for adversarial methods, the loss
    of each player), "measured on", "items" (the number of test items), and a column for each measure: "knn" for the
    trained encoder, and for the controls "knn untrained" and, if the training started from other than random weights,
    "knn start". Values that a run does not have yet are left out.
    """
    return [row for run in runs for row in _rows(run)]


def transfer(encoders: Iterable["Embedder"], sources: Sequence[str], budget: int | None = None) -> list[dict[str, Any]]:
    """Measure each frozen encoder on the annotations of each source: classes, masks or boxes.

    The row of an encoder is {"run", "method", "encoder"}, the number of test items of each source, and a column for
    each measure, with its controls as in `compare`. A row follows for each control without a network, for each encoder
    if they differ, as with the image size. If the encoder is from a run, the evaluations are saved in the run.

    Args:
        budget: training images for a head for masks or boxes, counting repeats.

    Raises:
        UsageError: a source has no annotations.
    """
    names = [Path(source).name for source in sources]
    titles = {source: name if names.count(name) == 1 else source for source, name in zip(sources, names, strict=True)}
    lines: list[dict[str, Any]] = []
    beside: dict[str, dict[str, dict[str, Any]]] = {}  # by control, then by encoder
    for encoder in encoders:
        config = encoder.config
        line = {"run": encoder.name, "method": config.get("method", encoder.row), "encoder": config["encoder"]["name"]}
        lines.append(line)
        for source in sources:
            held = known(source, encoder.kind_of(source))
            asked = [measure for part, measure in ASKED.items() if part in held]
            if not asked:
                raise UsageError(f"{source} has no classes, masks or boxes to measure encoders on. Give labelled data.")
            for protocol, metric in asked:
                title = f"{titles[source]} {protocol} {metric}"
                for row in encoder.evaluate(source, protocols=(protocol,), budget=budget):
                    line[f"{titles[source]} items"] = row["n_test"]
                    if row["metric"] == metric and row.get("by", "maps") == "maps":
                        who = row["encoder"]
                        if who == encoder.row or f" {who}" in CONTROLS:
                            line[title if who == encoder.row else f"{title} {who}"] = row["value"]
                        else:
                            beside.setdefault(who, {}).setdefault(encoder.name, {})[title] = row["value"]
    for who, found in beside.items():
        first, *others = found.values()
        each = {who: first} if all(other == first for other in others) else {f"{who}, {n}": o for n, o in found.items()}
        lines += [{"run": name, **values} for name, values in each.items()]
    return lines


def losses(row: dict[str, float]) -> dict[str, float]:
    """The losses in a row of a journal: the "loss", or each player's."""
    return {name: value for name, value in row.items() if name == "loss" or name.endswith("/loss")}


def _rows(run: "Run") -> list[dict[str, Any]]:
    config, rows = run.config, run.rows()
    row: dict[str, Any] = {
        "run": str(run.folder),
        "method": config["method"],
        "encoder": config["encoder"]["name"],
        "data": run.trained_on,
        "seed": run.seed,
    }
    if rows:
        row |= {"steps": int(rows[-1]["step"]), "seconds": rows[-1]["seconds"], **losses(rows[-1])}
    measured = []
    for data, results in by_data(run.results()).items():
        measures = {
            column(result) + end: result["value"]
            for end in ("", *CONTROLS)
            for result in results
            if result["encoder"] == (end.strip() or "trained")
        }
        measured.append(row | {"measured on": data, "items": results[0]["n_test"]} | measures)
    return measured or [row]
