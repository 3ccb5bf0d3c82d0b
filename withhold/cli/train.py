"""The commands that train one method."""

import argparse
import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import withhold
from withhold import options
from withhold.cli.verbs import verb
from withhold.console import Progress, advise, counted, print_json, print_results, resumable, say
from withhold.errors import UsageError


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
