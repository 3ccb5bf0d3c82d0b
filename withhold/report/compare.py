"""Several runs side by side."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from withhold.console import CONTROLS, column
from withhold.evaluation import by_data

if TYPE_CHECKING:
    from withhold.runs import Run


def compare(runs: Iterable["Run"]) -> list[dict[str, Any]]:
    """What each run is, what it cost and what came out: a row a run and data set it was measured on, ready for JSON.

    A row is {"run", "method", "encoder", "data", "seed", "steps", "seconds", "loss"}, a game's losses by player, what
    it was "measured on", and a column for each measure: "knn" for the trained encoder, "knn untrained" and where the
    training did not begin with fresh weights "knn start" for the controls.
    What a run does not have yet is left out.
    """
    return [row for run in runs for row in _rows(run)]


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
