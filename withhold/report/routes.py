"""The routes that `withhold learn` compared, as the command line and the report show them."""

import json
from pathlib import Path
from typing import Any

from withhold.console import duration

FILE = "learn.json"
COLUMNS = ["route", "accuracy", "95 % interval", "calibration error", "minutes"]
SHOWN = 10
"""Items that look mislabelled, of all that learn.json has."""
DOUBTED, NEXT = ["item", "told", "looks like"], ["item", "why"]
TITLES = {
    "routes": "Routes, each asked for the labels that were held out",
    "doubted": "What looks mislabelled, the likeliest first",
    "next": "What would help most if it had a label",
}


def compared(folder: Path) -> dict[str, Any]:
    """What was written down into a run's folder of routes, and of labels that look wrong; {} where there is nothing."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def cells(row: dict[str, Any]) -> list[str]:
    """The row of a route, under `COLUMNS`."""
    if "needs" in row:
        takes, has, needs = (duration(60 * row[name]) for name in ("takes", "has", "needs"))
        return [row["route"], "skipped", f"takes {takes} at least, has {has}: needs about {needs} in all", "", ""]
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return [row["route"], f"{row['accuracy']:.1%}", interval, f"{row['ece']:.3f}", f"{row['minutes']:.1f}"]


def tables(learned: dict[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """By `TITLES`, columns and rows of the routes, of what looks mislabelled, and of what to label next."""
    doubted = [
        [row["item"], f"{row['told']} ({row['told share']:.0%})", f"{row['likeliest']} ({row['likeliest share']:.0%})"]
        for row in learned.get("mislabelled", ())[:SHOWN]
    ]
    following = [[row["item"], row["why"]] for row in learned.get("next", ())]
    routes = [cells(row) for row in learned.get("rows", ())]
    found = {"routes": (COLUMNS, routes), "doubted": (DOUBTED, doubted), "next": (NEXT, following)}
    return {TITLES[name]: (columns, rows) for name, (columns, rows) in found.items() if rows}
