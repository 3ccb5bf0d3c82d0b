"""Several runs side by side."""

from collections.abc import Iterable
from typing import Any

from withhold.runs.run import Run


def compare(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """What each run is, what it cost and what came out: a row a run, ready for JSON.

    A row is {"run", "method", "encoder", "data", "seed", "steps", "seconds", "loss"}, a game's losses by player, and a
    column for each measure of the last evaluation: "knn" for the trained encoder, "knn untrained" for the control.
    What a run does not have yet is left out.
    """
    return [_row(run) for run in runs]


def column(result: dict[str, Any]) -> str:
    """What a row of an evaluation measures, in words: "knn", "lowshot 5/class", "segmentation miou"."""
    words = [result["protocol"]]
    if result["metric"] != "accuracy":
        words.append(result["metric"])
    if "shots" in result:
        words.append(f"{result['shots']}/class")
    return " ".join(words)


def losses(row: dict[str, float]) -> dict[str, float]:
    """The losses in a row of a journal: the "loss", or each player's."""
    return {name: value for name, value in row.items() if name == "loss" or name.endswith("/loss")}


def _row(run: Run) -> dict[str, Any]:
    config, rows, results = run.config, run.rows(), run.results()
    row: dict[str, Any] = {
        "run": str(run.folder),
        "method": config["method"],
        "encoder": config["encoder"]["name"],
        "data": ", ".join(config["data"]),
        "seed": run.seed,
    }
    if rows:
        row |= {"steps": int(rows[-1]["step"]), "seconds": rows[-1]["seconds"], **losses(rows[-1])}
    row |= {column(result): result["value"] for result in results if result["encoder"] == "trained"}
    return row | {
        f"{column(result)} untrained": result["value"] for result in results if result["encoder"] == "untrained"
    }
