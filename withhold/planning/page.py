"""A plan as a person sees it: tables, and a page with the graph."""

from pathlib import Path
from typing import Any

from withhold.page import render
from withhold.report import charts

PLAN, AFFINITIES = "The plan: what each target is read from", "Affinities of all targets to each source alone, in %"
MARK = "best from fresh weights"
Table = tuple[list[str], list[list[str]]]


def advice(found: dict[str, Any]) -> str:
    """What to learn, in a sentence."""
    if found["fresh"] == found["targets"]:
        return "Nothing is worth learning yet: give more --minutes"
    return f"Learn {', '.join(sources(found))}"


def tables(found: dict[str, Any]) -> dict[str, Table]:
    """By their titles, columns and rows of a plan and of the affinities that it follows from."""
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
        PLAN: (["target", "read from", "affinity", "gain", "quality"], plan),
        AFFINITIES: (["target", *tasks], affinities),
    }


def sources(found: dict[str, Any]) -> list[str]:
    """The tasks that a plan learns, in the order of all."""
    used = {source for row in found["plan"] for source in row["sources"]}
    return [task for task in found["asked"]["tasks"] if task in used]


def write_page(path: Path, found: dict[str, Any]) -> None:
    """Write the page of what `withhold.planning.plan` found."""
    links = [(source, row["target"], row["affinity"]) for row in found["plan"] for source in row["sources"]]
    graph = charts.links(
        found["asked"]["tasks"], found["targets"], links, about="Lines from the tasks that are learned to the targets"
    )
    render(
        path, Path(__file__).parent / "plan.html.jinja", graph=graph, tables=tables(found), advice=advice(found),
        fresh=found["fresh"], targets=found["targets"],
        budget=found["budget"], items=found["items"], asked=found["asked"], steps=found["steps"],
    )  # fmt: skip
