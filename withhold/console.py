"""What the command line writes: tables, JSON, a progress bar. Heavy imports wait until there is something to write."""

import json
import sys
from typing import Any


class Progress:
    """A progress bar on the terminal, told a row of the journal at a time; silent for machines and in pipes."""

    def __init__(self, silent: bool):
        self.bar: Any = None
        self.last = 0.0
        if not silent and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip
            self.task: Any = None

    def __call__(self, row: dict[str, float], steps: int) -> None:
        if self.bar is None:
            return
        if self.task is None or row["step"] < self.last:
            self.bar.start()
            self.task = self.bar.add_task("step", said="", total=steps)
        self.last = row["step"]
        shown = [f"{name} {value:.3g}" for name, value in row.items() if name.endswith(("loss", "accuracy", "knn"))]
        said = "  ".join([*shown, f"{row['images_per_second']:.0f} images/s"])
        self.bar.update(
            self.task, completed=row["step"], total=steps, said=said, description=f"step {row['step']:.0f}/{steps}"
        )

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def print_json(value: Any) -> None:
    print(json.dumps(value, default=str))


def print_results(results: list[dict[str, Any]]) -> None:
    """Evaluation rows as a table: an encoder a line, a protocol a column."""
    lines: dict[str, dict[str, str]] = {}
    for row in results:
        encoder = f"{row['method']}" if row["encoder"] == "trained" and "method" in row else row["encoder"]
        column = row["protocol"] + (f" {row['shots']}/class" if "shots" in row else "")
        shown = f"{row['value']:.3f}" + (f" ±{row['deviation']:.3f}" if "deviation" in row else "")
        lines.setdefault(encoder, {})[column] = shown
    columns = list(dict.fromkeys(column for line in lines.values() for column in line))
    print_table(["encoder", *columns], [[name, *(line.get(c, "") for c in columns)] for name, line in lines.items()])


def print_table(header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=None if sys.stdout.isatty() else 160, soft_wrap=False).print(table)
