"""The command that compares ways to train a classifier, and keeps the best."""

import argparse
import shlex
import sys
from typing import Any

import withhold
from withhold.cli.train import split_items
from withhold.cli.verbs import verb
from withhold.console import Progress, advise, print_json, print_tables, resumable, say
from withhold.errors import UsageError


@verb
def learn(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Train a classifier from a folder and few labels: compares several routes and keeps the best.

    Routes are tried, the cheap ones first, and compared by cross-validation on the given labels. Each result is
    saved at once, and the run always holds the best classifier so far. After Ctrl-C the same command resumes.
    """
    parser.add_argument("items", nargs="+", metavar="DATA | key=value", help="the data, and parameters of the methods")
    parser.add_argument("--minutes", type=float, help="time budget (default: 10 on a CPU, 30 on a GPU)")
    parser.add_argument(
        "--encoder", help="the encoder to start from, as for `withhold train` (default: pretrained weights for the "
        "kind of data, if installed)",
    )  # fmt: skip
    parser.add_argument("--pretrained", action="store_true", help="start from the pretrained weights of --encoder")
    parser.add_argument(
        "--size", type=int, help="height and width of the input in pixels (default: the largest that fits the time, "
        "up to that of the pretrained weights)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", action="append", help="a csv file with the columns path and label, for some items; may be repeated "
        "(default: the labels of DATA)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of folds, weights and views (default: %(default)s)"
    )
    parser.add_argument("--out", help="the run folder (default: runs/learn-DATA)")
    given = vars(parser.parse_intermixed_args(arguments))
    machine, _ = given.pop("json"), given.pop("debug")
    sources, parameters = split_items(given.pop("items"), given)
    if len(sources) != 1:
        raise UsageError(f"learn takes one data source, and {len(sources)} were given.")
    bar = Progress(machine)
    from withhold.report import routes

    def tell(row: dict[str, Any]) -> None:
        if not machine:
            say("  ".join(filter(None, routes.cells(row))), file=sys.stderr)

    with resumable(bar, lambda: f"Resume with: withhold learn {shlex.join(arguments)}"):
        run = withhold.learn(sources[0], progress=bar, report=tell, **given, **parameters)
    learned = routes.compared(run.folder)
    if machine:
        return print_json({"run": str(run.folder), **learned})
    print_tables(routes.tables(learned))
    say(learned["why"])
    say(f"The run is in {run.folder}. Its report is {run.folder / 'report.html'}")
    told = [word for path in given["labels"] or () for word in ("--labels", path)]
    more = ["label", sources[0], "--run", run.folder, *told]
    advise(["apply", run.folder, sources[0], "--out", "named"], more)
