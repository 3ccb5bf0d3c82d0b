"""The commands that show and check methods."""

import argparse

from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, print_table
from withhold.errors import WithholdError


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
