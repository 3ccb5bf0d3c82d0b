"""The command that serves the page."""

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
    """Serve a page to browse the data on a map, label the most useful items, train, and find errors.

    By default the page can only be opened on this machine, at the printed address. Each label is saved at once to
    labels.csv in the output folder, a file for `withhold learn --labels`. Ctrl-C stops the server. Run the same
    command again to continue where you stopped.
    """
    parser.add_argument("run", nargs="?", help=f"{ENCODER} (default: pretrained weights for the kind of data)")
    parser.add_argument("data", help="as for `withhold train`")
    parser.add_argument(
        "--labels",
        action="append",
        help="a csv file with labels to import at the start; may be repeated",
    )
    parser.add_argument("--out", help="the folder for labels, map and trainings (default: runs/explore-DATA)")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (default: a free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--host",
        help=f"the address to listen on, for access from other machines; a password is required: set "
        f"{PASSWORD}, or type it when prompted",
    )
    parser.add_argument("--size", type=int, help=SIZE)
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    options = parser.parse_intermixed_args(arguments)
    password = os.environ.get(PASSWORD) if options.host else None
    if options.host and not password:
        if not sys.stdin.isatty():
            raise UsageError(f"--host requires a password. Set {PASSWORD}, or omit --host.")
        password = getpass.getpass("Password for the page: ")

    def ready(address: str) -> None:
        if options.json:
            print_json({"address": address})
        else:
            say(f"Open {address}")
            print("Press Ctrl-C to stop. Every label is saved at once.", flush=True)

    withhold.explore(
        options.data, run=options.run, labels=options.labels, out=options.out, decoding=decoding(options),
        host=options.host, port=options.port, password=password, browser=options.open, seed=options.seed, ready=ready,
    )  # fmt: skip
