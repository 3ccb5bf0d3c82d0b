"""The routes that `withhold learn` compared, as tables for the command line and the report."""

from pathlib import Path
from typing import Any

from withhold.console import duration
from withhold.files import read_json

FILE = "learn.json"
COLUMNS = ["route", "accuracy", "95 % interval", "calibration error", "minutes"]
SHOWN = 10
"""Items shown that look mislabelled; learn.json lists all."""


def compared(folder: Path) -> dict[str, Any]:
    """The content of learn.json in a run folder; {} if there is none."""
    path = folder / FILE
    return read_json(path, f"Delete {folder} to learn again.") if path.is_file() else {}


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a route's row, for `COLUMNS`."""
    if "needs" in row:
        takes, has, needs = (duration(60 * row[name]) for name in ("takes", "has", "needs"))
        return [row["route"], "skipped", f"needs {takes}, has {has}: give about {needs} in all", "", ""]
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    error = "too few labels" if row["ece"] is None else f"{row['ece']:.3f}"
    return [row["route"], f"{row['accuracy']:.1%}", interval, error, f"{row['minutes']:.1f}"]


def tables(learned: dict[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Tables by title, as (columns, rows): the routes, the items that look mislabelled, and the items to label next."""
    doubted = [
        [row["item"], f"{row['told']} ({row['told share']:.0%})", f"{row['likeliest']} ({row['likeliest share']:.0%})"]
        for row in learned.get("mislabelled", ())[:SHOWN]
    ]
    following = [[row["item"], row["why"]] for row in learned.get("next", ())]
    found = {
        "Routes, by cross-validated accuracy": (COLUMNS, [cells(row) for row in learned.get("rows", ())]),
        "Items that look mislabelled, the most probable first": (["item", "label", "predicted"], doubted),
        "Items to label next": (["item", "why"], following),
    }
    return {title: table for title, table in found.items() if table[1]}
