"""A plan as tables, and as a page with a graph."""

from pathlib import Path
from typing import Any

from withhold.page import render
from withhold.report import charts

MARK = "random weights are best"
Table = tuple[list[str], list[list[str]]]


def advice(found: dict[str, Any]) -> str:
    """The recommended tasks, in a sentence."""
    if found["fresh"] == found["targets"]:
        return "No task beats random weights yet: give more --minutes"
    return f"Train on {', '.join(sources(found))}"


def tables(found: dict[str, Any]) -> dict[str, Table]:
    """Tables by title, as (columns, rows): the plan, and the affinities that it is based on."""
    plan = [
        [
            row["target"] + f" ({MARK})" * (row["target"] in found["fresh"]),
            " + ".join(row["sources"]),
            *(f"{row[name]:.1%}" for name in ("affinity", "gain", "quality")),
        ]
        for row in found["plan"]
    ]
    alone = {(row["target"], *row["sources"]): row for row in found["rows"] if len(row["sources"]) == 1}
    tasks = found["asked"]["tasks"]
    affinities = [
        [target, *(f"{100 * alone[target, task]['affinity']:.1f}" for task in tasks)] for target in found["targets"]
    ]
    return {
        "Plan: sources of each target": (["target", "sources", "affinity", "gain", "quality"], plan),
        "Affinity of each target to each single source, in %": (["target", *tasks], affinities),
    }


def sources(found: dict[str, Any]) -> list[str]:
    """The tasks of a plan, in the order of all tasks."""
    used = {source for row in found["plan"] for source in row["sources"]}
    return [task for task in found["asked"]["tasks"] if task in used]


def write_page(path: Path, found: dict[str, Any]) -> None:
    """Write the page of a result of `withhold.planning.plan`."""
    links = [(source, row["target"], row["affinity"]) for row in found["plan"] for source in row["sources"]]
    graph = charts.links(
        found["asked"]["tasks"], found["targets"], links, about="Lines from the planned tasks to the targets"
    )
    render(
        path, Path(__file__).parent / "plan.html.jinja", graph=graph, tables=tables(found), advice=advice(found),
        fresh=found["fresh"], targets=found["targets"],
        budget=found["budget"], items=found["items"], asked=found["asked"], steps=found["steps"],
    )  # fmt: skip
