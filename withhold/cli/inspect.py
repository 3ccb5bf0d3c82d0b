"""The verbs that look into runs and into the cache."""

import argparse
import time

import withhold
from withhold.cli.verbs import verb
from withhold.console import once, print_comparison, print_json, print_table, say
from withhold.errors import UsageError


@verb
def compare(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Several runs side by side: what came out, or with --on what each is worth to other data.

    Of data with classes that is a linear probe; of data with masks or boxes, a head over the encoder's maps that learns
    from them. The encoder itself stays as it is.
    """
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder; with --on any encoder")
    parser.add_argument("--on", nargs="+", metavar="DATA", help="measure all of them on each of these")
    parser.add_argument("--budget", type=int, metavar="N", help="images that heads learn from, with repeats")
    options = parser.parse_intermixed_args(arguments)
    if options.budget and not options.on:
        raise UsageError("--budget is for heads that learn from data: name these, as --on DATA.")
    from withhold.report import compare as compare_runs
    from withhold.report import transfer

    if options.on:
        with once():  # of data that every encoder reads
            rows = transfer([withhold.load(name) for name in options.runs], options.on, options.budget)
    else:
        rows = compare_runs([withhold.Run(folder) for folder in options.runs])
    if options.json:
        return print_json({"runs": rows})
    print_comparison(rows)


@verb
def report(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write a run's report.html afresh, with its last evaluation."""
    parser.add_argument("run", help="the folder that `withhold train` made")
    parser.add_argument("--data", help="take pictures and neighbours from here instead of the training data")
    options = parser.parse_intermixed_args(arguments)
    run = withhold.Run(options.run)
    from withhold.report import write

    streams = [run.load_data(options.data, run.kind)] * len(run.config["data"]) if options.data else run.streams()
    page = write(run, *streams)
    if options.json:
        return print_json({"report": str(page)})
    say(f"The report is {page}")


@verb
def doctor(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """What is wrong with a run, and the remedy."""
    parser.add_argument("run", help="the folder that `withhold train` made")
    options = parser.parse_intermixed_args(arguments)
    run = withhold.Run(options.run)
    found = run.doctor()
    if options.json:
        return print_json({"findings": found})
    from withhold.training import gain

    for finding in found:
        say(f"! {finding}")
    if not found:
        below = gain(run.rows()[-1]) if run.rows() else None
        margin = "" if below is None else f": the loss is {below:.0%} below what knowing nothing costs"
        still = "; the encoder is frozen: it is what the training began with" if run.frozen else ""
        print(f"Nothing wrong was found{margin}{still}.")


@verb
def cache(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List the decoded data that is kept on disk, or clear it."""
    parser.add_argument("--clear", action="store_true", help="delete all of it; it is decoded again when it is needed")
    options = parser.parse_args(arguments)
    from withhold.data import cache as store

    if options.clear:
        freed = store.clear()
        if options.json:
            return print_json({"freed_bytes": freed})
        say(f"{freed / 1e6:.1f} MB freed in {store.root()}")
        return None
    entries = store.entries()
    if options.json:
        return print_json({"folder": str(store.root()), "entries": [vars(entry) for entry in entries]})
    rows = []
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        rows.append([entry.source, "x".join(map(str, entry.shape)), f"{entry.bytes / 1e6:.1f}", used])
    print_table(["data", "shape", "MB", "last used"], rows)
    total = sum(entry.bytes for entry in entries)
    say(f"{total / 1e6:.1f} MB in {store.root()}; `withhold cache --clear` deletes it.")
