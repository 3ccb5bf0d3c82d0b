"""The verb that serves a page."""

import argparse
import getpass
import os
import sys

import withhold
from withhold.cli.use import ENCODER, SIZE, decoding
from withhold.cli.verbs import verb
from withhold.console import print_json, say
from withhold.errors import UsageError

PASSWORD = "WITHHOLD_PASSWORD"


@verb
def explore(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """A page to look at data as an encoder sees them, to label what helps most, to train, and to find errors.

    The page is served from this machine alone, at the address that is printed. Every label is written at once, to
    labels.csv in the folder, which `withhold learn --labels` takes. Ctrl-C ends the page; the same command opens it
    again, with everything that was there.
    """
    parser.add_argument("run", nargs="?", help=f"{ENCODER} (default: published weights for the kind of data)")
    parser.add_argument("data", help="as for `withhold train`")
    parser.add_argument(
        "--labels",
        action="append",
        help="a csv file with labels that are taken over at the beginning, or several of them",
    )
    parser.add_argument("--out", help="the folder that keeps labels, map and trainings (default: runs/explore-DATA)")
    parser.add_argument("--port", type=int, default=0, help="(default: one that is free)")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument(
        "--host", help=f"the address to listen at, for other machines; it takes a password, asked for or in {PASSWORD}"
    )
    parser.add_argument("--size", type=int, help=SIZE)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: %(default)s)")
    options = parser.parse_intermixed_args(arguments)
    password = os.environ.get(PASSWORD) if options.host else None
    if options.host and not password:
        if not sys.stdin.isatty():
            raise UsageError(f"The page needs a password: set {PASSWORD}, or leave --host out.")
        password = getpass.getpass("Password of the page: ")

    def ready(address: str) -> None:
        if options.json:
            print_json({"address": address})
        else:
            say(f"Open {address}")
            print("Ctrl-C ends the page. Labels are kept as they are given.", flush=True)

    withhold.explore(
        options.data, run=options.run, labels=options.labels, out=options.out, decoding=decoding(options),
        host=options.host, port=options.port, password=password, browser=options.open, seed=options.seed, ready=ready,
    )  # fmt: skip
