"""Output of the command line: tables, JSON and a progress bar. Heavy imports are delayed until they are needed.

Names come from data and are not trusted: terminal control codes are escaped, and markup is not interpreted.
"""

import contextlib
import json
import logging
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

WORD = 24
"""Longest table cell, in characters, that is never wrapped."""
CONTROLS = (" untrained", " start")
"""Suffixes of the columns of a comparison that hold the controls of another column."""
EVERY = 10.0
"""Seconds between progress lines when the output is not a terminal."""
COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control codes, line ends, marks that change the text direction, and lone surrogates."""


class Progress:
    """Progress bar of a training, updated with the rows of its journal: plain lines without a terminal, or silent.

    It shows the elapsed time from the start and refreshes every second.
    """

    def __init__(self, silent: bool):
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        self.silent, self.said = silent, time.monotonic()
        self.bar = tqdm(desc="starting", bar_format="{desc}  {elapsed}{postfix}", disable=silent or None)
        self.others = contextlib.ExitStack()
        if not self.bar.disable:
            self.others.enter_context(logging_redirect_tqdm())  # log lines appear above the bar
            threading.Thread(target=self._tick, daemon=True).start()

    def __call__(self, row: dict[str, float], steps: int) -> None:
        shown = [f"{name} {value:.3g}" for name, value in row.items() if name.endswith(("loss", "accuracy", "knn"))]
        left = duration(row["seconds"] / row["step"] * (steps - row["step"]))
        said = printable("  ".join([*shown, f"{row['items_per_second']:.0f} items/s", f"{left} left"]))
        description = f"step {row['step']:.0f}/{steps}"
        if not self.bar.disable:
            self.bar.total, self.bar.n = steps, row["step"]
            self.bar.bar_format = "{desc} |{bar:20}| {elapsed}{postfix}"
            self.bar.set_description_str(description, refresh=False)
            self.bar.set_postfix_str(said)
        elif not self.silent and (time.monotonic() - self.said >= EVERY or row["step"] == steps):
            print(f"{description}  {said}", file=sys.stderr, flush=True)
            self.said = time.monotonic()

    def close(self) -> None:
        self.bar.close()
        self.others.close()

    def _tick(self) -> None:
        while not self.bar.disable:  # set by close()
            time.sleep(1)
            self.bar.refresh()


@contextlib.contextmanager
def quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Suppress log messages below `level` within the context."""
    log = logging.getLogger("withhold")
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Log repeated messages only once within the context."""
    said: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        known = record.getMessage() in said
        said.add(record.getMessage())
        return not known

    log = logging.getLogger("withhold")
    log.addFilter(new)
    try:
        yield
    finally:
        log.removeFilter(new)


def duration(seconds: float) -> str:
    """Format a duration: "48 s", "10 min", "3 min 20 s", "1 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes, "s": 0 if hours else rest}
    return " ".join(f"{count} {unit}" for unit, count in parts.items() if count) or "0 s"


def printable(text: str) -> str:
    """The text on one line, with terminal control codes escaped as in Python: "\\x1b", "\\n", "\\u202e"."""
    return COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(line: str, file: TextIO | None = None) -> None:
    """Print a line, by default to standard output."""
    print(printable(line), file=file)


def advise(*commands: Sequence[Any]) -> None:
    """Print suggestions for the next command, quoted for the shell."""
    say("Next: " + "   or   ".join(shlex.join(map(str, ("withhold", *words))) for words in commands))


def counted(count: float, noun: str) -> str:
    """A number with its noun: "1 step", "1,200 steps"."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def column(result: dict[str, Any]) -> str:
    """Name of what an evaluation row measures: "knn", "lowshot 5/class", "tracking J bear"."""
    words = [result["protocol"]]
    if result["metric"] != "accuracy":
        words.append(result["metric"])
    if "shots" in result:
        words.append(f"{result['shots']}/class")
    words += [f"stage {result['stage']}"] if "stage" in result else []
    words += [result[name] for name in ("column", "by", "pooling", "direction", "sequence") if name in result]
    return " ".join(words + ["whitened"] * result.get("whitened", False))


def print_json(value: Any) -> None:
    print(json.dumps(value, default=str))


def print_results(results: list[dict[str, Any]]) -> None:
    """Print evaluation rows as a table of encoders and measures; the longer of the two runs downwards."""
    if not results:
        return say("Nothing was measured: the messages above say why.")
    cells: dict[tuple[str, str], str] = {}
    chances: dict[str, set[float]] = {}
    for row in results:
        if "chance" in row:
            chances.setdefault(column(row), set()).add(row["chance"])
    for row in results:
        encoder = f"{row['method']}" if row["encoder"] == "trained" and "method" in row else row["encoder"]
        shown = f"{row['value']:.3f}" + (f" ±{row['deviation']:.3f}" if "deviation" in row else "")
        shown += f" ({row['low']:.3f} to {row['high']:.3f})" if "low" in row else ""
        cells[encoder, column(row)] = shown
        if "chance" in row and len(chances[column(row)]) > 1:
            cells[encoder, column(row)] += f" (chance {row['chance']:.3f})"
        elif "chance" in row:
            cells["chance", column(row)] = f"{row['chance']:.3f}"
    encoders, measures = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    if len(measures) > len(encoders):
        lines = [[measure, *(cells.get((encoder, measure), "") for encoder in encoders)] for measure in measures]
        print_table(["measure", *encoders], lines)
    else:
        lines = [[encoder, *(cells.get((encoder, measure), "") for measure in measures)] for encoder in encoders]
        print_table(["encoder", *measures], lines)
    counts, test = sorted(row["n_train"] for row in results), results[0]["n_test"]
    least = f"{counts[0]:,} to " if 0 < counts[0] < counts[-1] else ""
    learned = f" with {least}{counted(counts[-1], 'training item')}" if counts[-1] else ""
    over = sorted({"episodes" if "episodes" in row else "items" for row in results if "low" in row})
    interval = (
        f"; in brackets: 95 % confidence intervals over {' and '.join(over)}, not over training runs" if over else ""
    )
    say(f"Measured on {counted(test, 'item')} of {results[0]['data']}{learned}{interval}.")


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """Print runs side by side, one per line, with the results of their controls in brackets."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in names if not name.endswith(CONTROLS)]

    def cell(row: dict[str, Any], name: str) -> str:
        keys = (name, *(name + end for end in CONTROLS if name + end in names))
        if not any(key in row for key in keys):
            return ""
        digits = ".4g" if name == "seconds" or name.endswith("loss") else ".3f"
        values = [row.get(key, "-") for key in keys]
        own, *beside = [format(value, digits) if isinstance(value, float) else str(value) for value in values]
        return f"{own} ({', '.join(beside)})" if beside else own

    print_table(columns, [[cell(row, name) for name in columns] for row in rows])
    if len(columns) < len(names):
        started = any(name.endswith(CONTROLS[1]) for name in names)
        began = ", and with the weights that training started from" if started else ""
        print(f"In brackets: the same encoder randomly initialised{began}.")


@contextlib.contextmanager
def resumable(bar: Progress, way: Callable[[], str]) -> Iterator[None]:
    """Close a progress bar at the end; after an interruption, `way` returns how to go on, or "" to say nothing."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        bar.close()
        if said := way():
            say(f"Stopped. {said}", file=sys.stderr)
        raise
    finally:
        bar.close()


def print_tables(tables: dict[str, tuple[list[str], list[list[str]]]]) -> None:
    """Print tables, given as (columns, rows) by title."""
    for title, (columns, rows) in tables.items():
        print(f"{title}:")
        print_table(columns, rows)
        print()


def print_table(header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    header, *rows = ([printable(cell) for cell in row] for row in (header, *rows))
    widest = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    # Names and numbers are not wrapped if there is room; sentences are.
    room = sum(min(width, 2 * WORD) + 2 for width in widest)
    console = Console(width=None if sys.stdout.isatty() else max(160, room), markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(header, widest, strict=True):
        table.add_column(name, overflow="fold", no_wrap=width <= WORD and room <= console.width)
    for row in rows:
        table.add_row(*row)
    console.print(table)
