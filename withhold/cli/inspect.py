"""The commands that inspect runs and the cache."""

import argparse
import time

import withhold
from withhold.cli.verbs import verb
from withhold.console import once, print_comparison, print_json, print_table, say
from withhold.errors import UsageError


@verb
def compare(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Compare runs side by side: their own results or, with --on, their results on other data.

    --on trains a linear probe on data with classes, and a head over the encoder's feature maps on data with masks or
    boxes. The encoder stays frozen.
    """
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder; with --on, any encoder")
    parser.add_argument("--on", nargs="+", metavar="DATA", help="labelled data to measure every encoder on")
    parser.add_argument(
        "--budget", type=int, metavar="N", help="number of images that a head is trained on, counting repeats"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.budget and not options.on:
        raise UsageError("--budget applies to heads trained with --on. Add --on DATA, or omit --budget.")
    from withhold.report import compare as compare_runs
    from withhold.report import transfer

    if options.on:
        with once():  # every encoder reads the same data
            rows = transfer([withhold.load(name) for name in options.runs], options.on, options.budget)
    else:
        rows = compare_runs([withhold.Run(folder) for folder in options.runs])
    if options.json:
        return print_json({"runs": rows})
    print_comparison(rows)


@verb
def report(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write a run's report.html, with its latest evaluation."""
    parser.add_argument("run", help="a run folder, as written by `withhold train`")
    parser.add_argument("--data", help="data for example images and neighbours (default: the training data)")
    options = parser.parse_intermixed_args(arguments)
    run = withhold.Run(options.run)
    from withhold.report import write

    streams = [run.load_data(options.data, run.kind)] * len(run.config["data"]) if options.data else run.streams()
    page = write(run, *streams)
    if options.json:
        return print_json({"report": str(page)})
    say(f"Wrote {page}")


@verb
def doctor(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Check a run for problems and suggest fixes."""
    parser.add_argument("run", help="a run folder, as written by `withhold train`")
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
        margin = "" if below is None else f" The loss is {below:.0%} below the trivial baseline."
        still = " The encoder was frozen, so its weights are those that training started from." if run.frozen else ""
        print(f"No problems found.{margin}{still}")


@verb
def cache(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List the cache of decoded data, or clear it."""
    parser.add_argument("--clear", action="store_true", help="delete the cache; data is decoded again when needed")
    options = parser.parse_args(arguments)
    from withhold.data import cache as store

    if options.clear:
        freed = store.clear()
        if options.json:
            return print_json({"freed_bytes": freed})
        say(f"Freed {freed / 1e6:.1f} MB in {store.root()}")
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
    say(f"{total / 1e6:.1f} MB in {store.root()}. `withhold cache --clear` deletes it.")
