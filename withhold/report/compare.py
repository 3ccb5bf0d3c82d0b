"""Several runs side by side."""

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
"""By what data say of their items, the protocol that measures what an encoder is worth to say it, and its metric."""


def compare(runs: Iterable["Run"]) -> list[dict[str, Any]]:
    """What each run is, what it cost and what came out: a row a run and data set it was measured on, ready for JSON.

    A row is {"run", "method", "encoder", "data", "seed", "steps", "seconds", "loss"}, a game's losses by player, what
    it was "measured on", and a column for each measure: "knn" for the trained encoder, "knn untrained" and where the
    training did not begin with fresh weights "knn start" for the controls.
    What a run does not have yet is left out.
    """
    return [row for run in runs for row in _rows(run)]


def transfer(encoders: Iterable["Embedder"], sources: Sequence[str], budget: int | None = None) -> list[dict[str, Any]]:
    """What each encoder, frozen, is worth to what each source asks for: its classes, its masks, its boxes.

    A row an encoder is {"run", "method", "encoder"} and a column for each question, with its controls as in `compare`,
    beside the number of items that it was measured on;
    a row for each control that needs no network follows. An encoder that is a run's keeps the rows of the evaluations.

    Args:
        budget: images, counted with repeats, from which a head for masks or boxes learns.

    Raises:
        UsageError: a source says nothing of its items.
    """
    lines: list[dict[str, Any]] = []
    beside: dict[str, dict[str, Any]] = {}
    for encoder in encoders:
        config = encoder.config
        line = {"run": encoder.name, "method": config.get("method", encoder.row), "encoder": config["encoder"]["name"]}
        lines.append(line)
        for source in sources:
            held = known(source, encoder.kind_of(source))
            asked = [measure for part, measure in ASKED.items() if part in held]
            if not asked:
                raise UsageError(f"{source} holds no classes, masks or boxes to be measured on: give some.")
            for protocol, metric in asked:
                title = f"{Path(source).name} {protocol} {metric}"
                for row in encoder.evaluate(source, protocols=(protocol,), budget=budget):
                    line[f"{Path(source).name} items"] = row["n_test"]
                    if row["metric"] == metric and row.get("by", "maps") == "maps":
                        who = row["encoder"]
                        if who == encoder.row or f" {who}" in CONTROLS:
                            line[title if who == encoder.row else f"{title} {who}"] = row["value"]
                        else:
                            beside.setdefault(who, {"run": who})[title] = row["value"]
    return [*lines, *beside.values()]


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
        measured.append(row | {"measured on": data} | measures)
    return measured or [row]
