"""The items to label next, as a table to fill in and a page."""

import csv
import json
from pathlib import Path

import pyarrow

from withhold import kinds
from withhold.page import render

TEMPLATE = Path(__file__).with_name("label.html.jinja")
TABLE, PAGE = "label.csv", "label.html"


def write(table: pyarrow.Table, folder: Path) -> None:
    """Write label.csv and label.html into a folder.

    label.csv has the columns of `table`, as returned by `withhold.label`, and an empty column, label, to fill in. The
    items with known labels follow, so that the filled-in table has all labels.
    """
    about = json.loads(table.schema.metadata[b"withhold"])
    rows = table.to_pylist()
    shown = kinds.previews(table, about["kind"], about["source"])
    with open(folder / TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "label", *table.column_names[1:]], restval="")
        writer.writeheader()
        writer.writerows(rows + [{"path": name, "label": label} for name, label in about["known"]])
    render(
        folder / PAGE, TEMPLATE, results=[row | cell for row, cell in zip(rows, shown, strict=True)],
        source=about["source"], strategy=about["strategy"], csv=TABLE, tile=kinds.of(about["kind"]).tile,
    )  # fmt: skip
