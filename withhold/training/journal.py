"""What a run wrote down: one row of numbers a logging point."""

import csv
import os
from pathlib import Path

Row = dict[str, float]


class Journal:
    """The rows of a run, mirrored in `path` as a csv file whenever one is added; in memory alone where `path` is None.

    It takes up the rows that `path` holds up to step `until`; None starts afresh. Rows may have different columns: what
    the monitor measures now and then stands beside what every row has.
    """

    def __init__(self, path: Path | None = None, until: int | None = None):
        self.path = path
        self.rows: list[Row] = []
        if path is not None and until is not None and path.exists():
            self.rows = [row for row in read(path) if row["step"] <= until]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        if self.path is None:
            return
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        partial = self.path.with_name(self.path.name + ".partial")
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)


def read(path: Path) -> list[Row]:
    """The rows of a journal's file, without the cells that are empty."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [row | {"step": int(row["step"])} for row in rows]
