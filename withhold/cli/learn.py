"""The commands that train, and those that show and check methods."""

import argparse
import os
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import withhold
from withhold import options
from withhold.cli.verbs import verb
from withhold.console import (
    Progress,
    advise,
    counted,
    print_json,
    print_results,
    print_table,
    print_tables,
    resumable,
    say,
)
from withhold.errors import UsageError, WithholdError


@verb
def demo(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Train on built-in handwritten digits: an encoder without labels, then a classifier with few labels."""
    parser.add_argument("--out", default="runs/demo", help="the folder to write to (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of weights, order and views (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    from withhold.demo import demo as run_demo

    bar = Progress(options.json)
    encoders, classifiers, page = run_demo(Path(options.out), seed=options.seed, progress=bar)
    bar.close()
    if options.json:
        return print_json({"results": encoders + classifiers, "report": str(page)})
    print("Encoders trained without labels, measured with labels:")
    print_results(encoders)
    print("\nClassifiers trained with few labels:")
    print_results(classifiers)
    print()
    say(f"The report is {page}")
    advise(["train", "simclr", "YOUR_FOLDER", "--minutes", "10"])


@verb
def methods(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List all methods, or show one method and its parameters."""
    parser.add_argument("name", nargs="?", help="a method's name, or a Python file that defines one")
    options = parser.parse_args(arguments)
    from withhold.methods import card, find, names

    cards = [card(find(name)) for name in ([options.name] if options.name else names())]
    if options.json:
        return print_json(cards if not options.name else cards[0])
    if options.name:
        found = cards[0]
        print(f"{found['name']}  ({found['family']}; {found['paper']})\n\n{found['about']}\n")
        print("Streams: " + ", ".join(f"{name} ({kind})" for name, kind in found["needs"].items()))
        print("Parameters: " + ("" if found["parameters"] else "none"))
        for name, default in found["parameters"].items():
            print(f"  {name}={default}  ({found['values'][name]})")
        advise(["train", options.name, *(f"{name.upper()}/" for name in found["needs"])])
    else:
        cards.sort(key=lambda c: (c["folder"], c["family"], c["name"]))
        print_table(
            ["group", "family", "method", "withholds and predicts", "paper"],
            [[c["folder"], c["family"], c["name"], c["about"].split("\n")[0], c["paper"]] for c in cards],
        )
        advise(["methods", "NAME"])


@verb
def check(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Check that a method, for example your own, meets the contract of all methods.

    The method is trained on tiny generated data, or on the data that you give.
    """
    parser.add_argument("method", help="a method's name, or a Python file that defines one")
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="SOURCE", help="use this data instead, one source per stream"
    )
    options = parser.parse_args(arguments)
    from withhold.contract import Trial, examine
    from withhold.methods import find

    found = []
    for sentence, seconds, wrong in examine(Trial(find(options.method), sources=tuple(options.data)), options.debug):
        found.append({"check": sentence, "seconds": round(seconds, 2), "wrong": wrong})
        if not options.json:
            print(f"{'FAILS' if wrong else 'ok':<5} {seconds:6.1f} s  {sentence}")
            if wrong:
                print(f"{'':16}{wrong}")
    failed = sum(bool(entry["wrong"]) for entry in found)
    if options.json:
        print_json({"method": options.method, "checks": found})
    if failed:
        raise WithholdError(f"{options.method} failed {failed} of {counted(len(found), 'check')}.")


@verb
def views(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Draw a batch as the method sees it, with what it withholds and, for a run, its predictions."""
    parser.add_argument("method", help="a method's name or file, or a run folder, which needs no DATA")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value", help="the data, and parameters of the method")
    explained = options.explained()
    parser.add_argument("--out", required=True, help="the PNG file to write")
    parser.add_argument("--size", type=int, help=explained["size"])
    parser.add_argument("--encoder", help="the encoder to train, as for `withhold train`")
    parser.add_argument(
        "--labels", action="append", help="a csv file with the labels of some items, as for `withhold train`"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of weights, order and views (default: %(default)s)"
    )
    given = parser.parse_intermixed_args(arguments)
    sources, parameters = split_items(given.items, vars(given))
    from withhold.runs import preview

    preview(
        given.method, *sources, out=Path(given.out), encoder=given.encoder, size=given.size, seed=given.seed,
        labels=given.labels, **parameters,
    )  # fmt: skip
    if given.json:
        return print_json({"out": given.out})
    say(f"Wrote {given.out}")
    if not Path(given.method).is_dir():
        advise(["train", given.method, *given.items])


@verb
def train(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Train an encoder, on unlabelled or labelled data, with one of the methods.

    DATA is a folder, a zip archive, a csv, jsonl or parquet file, an IDX or npz file, hf:NAME, or digits. Give one
    source for each input stream of the method, or a single source with --labels. key=value sets a parameter of the
    method. `withhold methods NAME` lists streams and parameters. A checkpoint is saved every minute, and on Ctrl-C and
    SIGTERM. --resume continues from it.
    """
    parser.add_argument("method", help="a method's name (see `withhold methods`), or a Python file that defines one")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value", help="the data, and parameters of the method")
    explained = options.explained()
    for option in options.named():
        if options.kind(option) is bool:
            parser.add_argument(options.flag(option), action="store_true", help=explained[option.name])
        elif option.name == "labels":
            parser.add_argument(options.flag(option), action="append", help=explained[option.name])
        else:
            told = "" if option.default is None else f" (default: {option.default:g})"
            parser.add_argument(
                options.flag(option), type=options.kind(option), default=option.default,
                help=explained[option.name] + told,
            )  # fmt: skip
    parser.add_argument("--out", help="the run folder (default: runs/METHOD-DATA)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the folder from its last checkpoint")
    given = vars(parser.parse_intermixed_args(arguments))
    machine, _ = given.pop("json"), given.pop("debug")
    sources, parameters = split_items(given.pop("items"), given)
    again = shlex.join(argument for argument in arguments if argument != "--resume")
    method = given.pop("method")
    # Only one process prints. The bar starts before the libraries are loaded, which takes a while.
    bar = Progress(machine or os.environ.get("LOCAL_RANK", "0") != "0")
    from withhold.answers import needed
    from withhold.losses import rank
    from withhold.runs.folder import begun, folder_of

    def way() -> str:
        verb, end = ("Resume", " --resume") if begun(folder_of(method, sources, given["out"])) else ("Start again", "")
        return "" if rank() > 0 else f"{verb} with: withhold train {again}{end}"

    with resumable(bar, way):
        run = withhold.train(method, *sources, progress=bar, **given, **parameters)
    if rank() > 0:
        return
    outcome = run.config["outcome"]
    if machine:
        print_json({"run": str(run.folder), **outcome, "finished": True})
        return
    for finding in run.doctor():
        say(f"! {finding}")
    print(
        f"{counted(outcome['steps'], 'step')} in {outcome['seconds']:.0f} s, {outcome['items_per_second']:.0f} items/s."
    )
    page = run.folder / "report.html"
    say(f"The run is in {run.folder}. " + (f"Its report is {page}" if page.is_file() else "It has no report"))
    files = [word for name in needed(run) for word in ("--with", f"{name}=FILE")]
    answers = files or run.names_classes or any(need.teaches for need in run.cls.needs.values())
    verb, result = ("apply", "named") if answers else ("embed", "emb.parquet")
    advise(["evaluate", run.folder, "LABELLED_DATA"], [verb, run.folder, "DATA", *files, "--out", result])


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


def split_items(items: list[str], options: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """Split the positional arguments of a command into data sources and key=value parameters.

    Raises:
        UsageError: a parameter has the name of one of the `options`.
    """
    sources: list[str] = []
    parameters: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if equals and name.isidentifier():
            parameters[name] = value
        else:
            sources.append(item)
    if clash := sorted(set(parameters) & set(options)):
        raise UsageError(f"{clash[0]} is an option, not a parameter. Write --{clash[0].replace('_', '-')} VALUE.")
    return sources, parameters
