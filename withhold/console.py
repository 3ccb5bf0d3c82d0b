"""What the command line writes: tables, JSON, a progress bar. Heavy imports wait until there is something to write."""

import json
import sys
import time
from typing import Any

WORD = 24
"""Characters up to which a cell of a table is not broken."""
CONTROL = " untrained"
"""How a column of a comparison ends that holds the control of another."""
EVERY = 10.0
"""Seconds between lines where there is no terminal for a bar."""


class Progress:
    """A progress bar, told a row of the journal at a time: lines where there is no terminal, silent for machines."""

    def __init__(self, silent: bool):
        self.silent = silent
        self.bar: Any = None
        self.last = 0.0
        self.said = time.monotonic()
        if not silent and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip
            self.task: Any = None

    def __call__(self, row: dict[str, float], steps: int) -> None:
        shown = [f"{name} {value:.3g}" for name, value in row.items() if name.endswith(("loss", "accuracy", "knn"))]
        said = "  ".join([*shown, f"{row['items_per_second']:.0f} items/s"])
        description = f"step {row['step']:.0f}/{steps}"
        if self.bar is None:
            if not self.silent and (time.monotonic() - self.said >= EVERY or row["step"] == steps):
                print(f"{description}  {said}", file=sys.stderr, flush=True)
                self.said = time.monotonic()
            return
        if self.task is None or row["step"] < self.last:
            self.bar.start()
            self.task = self.bar.add_task("step", said="", total=steps)
        self.last = row["step"]
        self.bar.update(self.task, completed=row["step"], total=steps, said=said, description=description)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def counted(count: float, noun: str) -> str:
    """A number with its noun: "1 step", "1,200 steps"."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def column(result: dict[str, Any]) -> str:
    """What a row of an evaluation measures, in words: "knn", "lowshot 5/class", "tracking J bear"."""
    words = [result["protocol"]]
    if result["metric"] != "accuracy":
        words.append(result["metric"])
    if "shots" in result:
        words.append(f"{result['shots']}/class")
    words += [result[name] for name in ("by", "pooling", "direction", "sequence") if name in result]
    return " ".join(words + ["whitened"] * result.get("whitened", False))


def print_json(value: Any) -> None:
    print(json.dumps(value, default=str))


def print_results(results: list[dict[str, Any]]) -> None:
    """Evaluation rows as a table of encoders and measures; there is more room downwards, for whichever are more."""
    cells: dict[tuple[str, str], str] = {}
    for row in results:
        encoder = f"{row['method']}" if row["encoder"] == "trained" and "method" in row else row["encoder"]
        shown = f"{row['value']:.3f}" + (f" ±{row['deviation']:.3f}" if "deviation" in row else "")
        shown += f" ({row['low']:.3f} to {row['high']:.3f})" if "low" in row else ""
        cells[encoder, column(row)] = shown
        if "chance" in row:
            cells["chance", column(row)] = f"{row['chance']:.3f}"
    encoders, measures = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    if len(measures) > len(encoders):
        lines = [[measure, *(cells.get((encoder, measure), "") for encoder in encoders)] for measure in measures]
        print_table(["measure", *encoders], lines)
    else:
        lines = [[encoder, *(cells.get((encoder, measure), "") for measure in measures)] for encoder in encoders]
        print_table(["encoder", *measures], lines)
    train, test = max(row["n_train"] for row in results), results[0]["n_test"]
    learned = f"; {counted(train, 'other')} to learn from" if train else ""
    interval = "; in brackets: what so few items leave open (95 %)" if any("low" in row for row in results) else ""
    print(f"Measured on {counted(test, 'item')} of {results[0]['data']}{learned}{interval}.")


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """Runs side by side, a line each; a measure of the untrained control stands in brackets behind the run's own."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in names if not name.endswith(CONTROL)]

    def cell(row: dict[str, Any], name: str) -> str:
        values = [row[key] for key in (name, name + CONTROL) if key in row]
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        return " (".join(shown) + ")" * (len(shown) - 1)

    print_table(columns, [[cell(row, name) for name in columns] for row in rows])
    if len(columns) < len(names):
        print("In brackets: the same encoder untrained.")


def print_table(header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    widest = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    # Names and numbers stay whole where there is room for that; sentences are wrapped.
    room = sum(min(width, 2 * WORD) + 2 for width in widest)
    console = Console(width=None if sys.stdout.isatty() else max(160, room))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(header, widest, strict=True):
        table.add_column(name, overflow="fold", no_wrap=width <= WORD and room <= console.width)
    for row in rows:
        table.add_row(*row)
    console.print(table)
