"""The journal of a run: one row of numbers for each logging point."""

import csv
from pathlib import Path

from withhold.errors import WithholdError
from withhold.files import write_csv

Row = dict[str, float]


class Journal:
    """The rows of a run, written to the csv file `path` whenever one is added; None keeps them in memory only.

    Rows in `path` up to step `until` are kept; None starts with no rows. Rows may have different columns, because the
    monitor's numbers are not measured at every logging point.
    """

    def __init__(self, path: Path | None = None, until: int | None = None):
        self.path = path
        self.rows: list[Row] = []
        if path is not None and until is not None and path.exists():
            self.rows = [row for row in read(path) if row["step"] <= until]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        if self.path is not None:
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            write_csv(self.path, columns, ([row.get(name, "") for name in columns] for row in self.rows))


def read(path: Path) -> list[Row]:
    """Read the rows of a journal's file, without empty cells. Raises: WithholdError: the file is damaged."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        return [row | {"step": int(row["step"])} for row in rows]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise WithholdError(f"{path} is damaged ({error}). Train this run again.") from error
