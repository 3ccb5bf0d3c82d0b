"""The demo: the whole job on data that is always there."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold import data
from withhold.errors import UsageError
from withhold.report import write_demo
from withhold.runs import train
from withhold.training import Row

# One method that verifies, one that reconstructs, one that contrasts, with the passes over the digits each one gets.
METHODS = {"rotation": 6, "denoising_autoencoder": 10, "simclr": 14}
SIZE = 16
"""Pixels; the digits themselves have 8."""


def demo(
    folder: Path, *, seed: int = 0, progress: Callable[[Row, int], None] | None = None
) -> tuple[list[dict[str, Any]], Path]:
    """Learn from scikit-learn's digits without labels, three ways; gives the evaluation's rows and the report's path.

    A fifth of the digits is held out: no method sees it, and every row is measured on it.

    Raises:
        UsageError: the folder holds something else than an earlier demo.
    """
    page = folder / "report.html"
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if held not in (set(), {*METHODS, page.name}):
        raise UsageError(f"{folder} holds something else than a whole demo: name another --out, or delete it.")
    seen, held_out = data.load("digits", size=SIZE).split(0.2, seed)
    runs = []
    for name, epochs in METHODS.items():
        if held:
            shutil.rmtree(folder / name)
        run = train(name, seen, size=SIZE, epochs=epochs, seed=seed, out=folder / name, progress=progress)
        runs.append(run)
    results: list[dict[str, Any]] = []
    for run in runs:
        last = run is runs[-1]
        rows = run.evaluate(seen, held_out, protocols=("knn", "linear", "lowshot"), supervised=last)
        trained = [{"method": run.config["method"], **row} for row in rows if row["encoder"] == "trained"]
        results += trained
        if last:  # the controls are the same for all
            results += [{"method": "", **row} for row in rows if row["encoder"] != "trained"]
    return results, write_demo(results, runs, page, held_out)
