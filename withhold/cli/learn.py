"""The verbs that learn, and show what is there to learn with."""

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
from withhold.console import Progress, advise, counted, print_json, print_results, print_table, say
from withhold.errors import UsageError, WithholdError


@verb
def demo(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """The whole road on built-in data: learn from handwritten digits without labels, then from a few, name the rest."""
    parser.add_argument("--out", default="runs/demo", help="the folder to write to (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and views (default: %(default)s)")
    options = parser.parse_args(arguments)
    from withhold.demo import demo as run_demo

    bar = Progress(options.json)
    encoders, classifiers, page = run_demo(Path(options.out), seed=options.seed, progress=bar)
    bar.close()
    if options.json:
        return print_json({"results": encoders + classifiers, "report": str(page)})
    print("What was learned without labels, by a probe that gets them:")
    print_results(encoders)
    print("\nWhat a few labels make of it:")
    print_results(classifiers)
    print()
    say(f"The report with pictures is {page}")
    advise(["train", "simclr", "YOUR_FOLDER", "--minutes", "10"])


@verb
def methods(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """The table of methods; or one method's card, with its parameters."""
    parser.add_argument("name", nargs="?", help="a method's name, or the path of a Python file that declares one")
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
            ["of", "family", "method", "withholds and predicts", "paper"],
            [[c["folder"], c["family"], c["name"], c["about"].split("\n")[0], c["paper"]] for c in cards],
        )
        advise(["methods", "NAME"])


@verb
def check(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Hold a method, such as one in a file of your own, to the contract that all methods keep.

    It learns from tiny data of the kinds that it needs, or from the data named.
    """
    parser.add_argument("method", help="a method's name, or a Python file that declares one")
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE", help="instead of tiny data, one a stream")
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
        raise WithholdError(f"{options.method} fails {failed} of {counted(len(found), 'check')}.")


@verb
def views(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Render a batch of what the method will see beside what it withholds; of a run, what it says too."""
    parser.add_argument("method", help="a method's name or file; or a run's folder, whose own data need not be named")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value")
    parser.add_argument("--out", required=True, help="the PNG file to write")
    parser.add_argument("--size", type=int, help="pixels of the square input (default: from the images)")
    parser.add_argument("--encoder", help="the encoder that the method would train")
    parser.add_argument(
        "--labels", action="append", help="a file with the labels of some items, as for `withhold train`"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and views (default: %(default)s)")
    options = parser.parse_intermixed_args(arguments)
    sources, parameters = split_items(options.items, vars(options))
    from withhold.runs import preview

    preview(
        options.method, *sources, out=Path(options.out), encoder=options.encoder, size=options.size, seed=options.seed,
        labels=options.labels, **parameters,
    )  # fmt: skip
    if options.json:
        return print_json({"out": options.out})
    say(f"The picture is {options.out}")
    if not Path(options.method).is_dir():
        advise(["train", options.method, *options.items])


@verb
def train(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Learn an encoder from data without labels.

    DATA is a folder, a zip archive, a csv, jsonl or parquet file, an IDX or npz file, hf:NAME, or digits; one for each
    stream of the method, or one for all of them with --labels. key=value sets a parameter of the method, as `withhold
    methods NAME` lists them. The state is saved every minute, and by Ctrl-C and SIGTERM; --resume goes on from there.
    """
    parser.add_argument("method", help="a method's name (see `withhold methods`), or a Python file that declares one")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value", help="the data, then parameters of the method")
    explained = options.explained()
    for option in options.named():
        if options.kind(option) is bool:
            parser.add_argument(options.flag(option), action="store_true", help=explained[option.name])
        elif option.name == "labels":
            parser.add_argument(options.flag(option), action="append", help=explained[option.name])
        else:
            parser.add_argument(
                options.flag(option), type=options.kind(option), default=option.default, help=explained[option.name]
            )
    parser.add_argument("--out", help="the run's folder (default: runs/METHOD-DATA)")
    parser.add_argument("--resume", action="store_true", help="go on where the run in the folder stopped")
    given = vars(parser.parse_intermixed_args(arguments))
    machine, _ = given.pop("json"), given.pop("debug")
    sources, parameters = split_items(given.pop("items"), given)
    again = shlex.join(argument for argument in arguments if argument != "--resume")
    method = given.pop("method")
    # One process speaks for all, from before the libraries are loaded, which takes a while.
    bar = Progress(machine or os.environ.get("LOCAL_RANK", "0") != "0")
    from withhold.losses import rank
    from withhold.runs.folder import begun, folder_of

    try:
        run = withhold.train(method, *sources, progress=bar, **given, **parameters)
    except (KeyboardInterrupt, SystemExit):
        bar.close()
        if rank() == 0:
            start = not begun(folder_of(method, sources, given["out"]))
            way = (
                f"Start again with: withhold train {again}" if start else f"Go on with: withhold train {again} --resume"
            )
            say(f"Stopped. {way}", file=sys.stderr)
        raise
    finally:
        bar.close()
    if rank() > 0:
        return
    outcome = run.config["outcome"]
    if machine:
        print_json({"run": str(run.folder), **outcome, "finished": True})
        return
    for finding in run.doctor():
        say(f"! {finding}")
    print(
        f"{counted(outcome['steps'], 'step')} in {outcome['seconds']:.0f} s, "
        f"{outcome['items_per_second']:.0f} items a second."
    )
    page = run.folder / "report.html"
    say(f"The run is in {run.folder}; " + (f"its report is {page}" if page.is_file() else "it has no report"))
    answers = run.names_classes or any(need.teaches for need in run.cls.needs.values())
    verb, result = ("apply", "named") if answers else ("embed", "emb.parquet")
    advise(["evaluate", run.folder, "LABELLED_DATA"], [verb, run.folder, "DATA", "--out", result])


@verb
def learn(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """From a folder and a few labels to a classifier: what is worth it is tried, the simple first, and the best kept.

    Routes are compared by cross-validation on the given labels alone. Each result is kept at once: after Ctrl-C the
    same command goes on, and until then the run is the best one so far.
    """
    parser.add_argument("items", nargs="+", metavar="DATA | key=value", help="the data, then parameters of the methods")
    explained = options.explained()
    for option in options.named():
        if option.name in ("minutes", "encoder", "size"):
            kind = options.kind(option)
            parser.add_argument(options.flag(option), type=kind, help=explained[option.name])
    parser.add_argument("--labels", action="append", help=explained["labels"])
    parser.add_argument("--pretrained", action="store_true", help=explained["pretrained"])
    parser.add_argument("--seed", type=int, default=0, help="of folds, weights and views (default: %(default)s)")
    parser.add_argument("--out", help="the run's folder (default: runs/learn-DATA)")
    given = vars(parser.parse_intermixed_args(arguments))
    machine, _ = given.pop("json"), given.pop("debug")
    sources, parameters = split_items(given.pop("items"), given)
    if len(sources) != 1:
        raise UsageError(f"One source is learned from, and {counted(len(sources), 'source')} are given: name one.")
    bar = Progress(machine)

    from withhold.report import routes

    def tell(row: dict[str, Any]) -> None:
        if not machine:
            say("  ".join(filter(None, routes.cells(row))), file=sys.stderr)

    try:
        run = withhold.learn(sources[0], progress=bar, report=tell, **given, **parameters)
    except (KeyboardInterrupt, SystemExit):
        bar.close()
        say(f"Stopped. Go on with: withhold learn {shlex.join(arguments)}", file=sys.stderr)
        raise
    finally:
        bar.close()
    learned = routes.compared(run.folder)
    if machine:
        return print_json({"run": str(run.folder), **learned})
    for title, (columns, rows) in routes.tables(learned).items():
        print(f"{title}:")
        print_table(columns, rows)
        print()
    say(learned["why"])
    say(f"The run is in {run.folder}; its report is {run.folder / 'report.html'}")
    told = [word for path in given["labels"] or () for word in ("--labels", path)]
    more = ["label", sources[0], "--run", run.folder, *told]
    advise(["apply", run.folder, sources[0], "--out", "named"], more)


def split_items(items: list[str], options: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """The data, and the key=value parameters, of a verb that takes both, and `options`.

    Raises:
        UsageError: a parameter is called as an option is.
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
        raise UsageError(f"{clash[0]} is an option, not a parameter: write --{clash[0].replace('_', '-')} VALUE.")
    return sources, parameters
