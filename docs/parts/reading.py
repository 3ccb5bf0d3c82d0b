"""Read the results of benchmarks and claims, and format them as tables."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "benchmarks"))
from claims.row import Claim  # noqa: E402
from claims.rows import CLAIMS  # noqa: E402


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, or "Not measured yet." if there are no rows. A column of seeds is left out if all are 0."""
    if not rows:
        return "Not measured yet."
    if "seed" in header and {row[header.index("seed")] for row in rows} == {"0"}:
        place = header.index("seed")
        header, *rows = [[*row[:place], *row[place + 1 :]] for row in (header, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def result(name: str) -> dict:
    """The recorded result of a benchmark or a claim; {} if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["result"] if path.exists() else {}


def measured(group: str) -> list[tuple[Claim, dict]]:
    """The claims of a group that have a result, in the order of `CLAIMS`, and their results."""
    return [(claim, result(claim.name)) for claim in CLAIMS if claim.group == group and result(claim.name)]


def beside(claim: Claim) -> list[dict]:
    """The result rows of a claim, followed by those of its controls."""
    return [row for each in (claim, *claim.controls) for row in result(each.name).get("results", ())]


def percent(value: float | None, deviation: float | None = None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" + (f" ± {100 * deviation:.1f}" if deviation is not None else "")


def values(rows: list[dict], *keys: str) -> dict[tuple, float]:
    """The value of each row, by the values of its `keys`."""
    return {tuple(row.get(key) for key in keys): row["value"] for row in rows}


def answered(claim: Claim) -> float | None:
    """The test accuracy of the trained classifier; None if it was not measured."""
    rows = result(claim.name).get("results", ())
    return next((row["value"] for row in rows if row["protocol"] in ("classifier", "logistic")), None)
