"""The command line. Heavy imports are delayed until a command runs."""

import argparse
import logging
import os
import signal
import socket
import sys
import urllib.parse
import urllib.request
from inspect import getdoc

import withhold
from withhold import outside
from withhold.cli import (  # noqa: F401  (they declare the commands)
    draw,
    explore,
    inspect,
    label,
    learn,
    methods,
    plan,
    search,
    train,
    use,
)
from withhold.cli.verbs import VERBS
from withhold.console import printable, say
from withhold.errors import UsageError, WithholdError, suggestion

GROUPS = {
    "Train": ("demo", "learn", "train", "plan"),
    "Use a trained encoder": ("evaluate", "apply", "embed", "search", "label", "explore", "export", "stylize"),
    "Inspect": ("report", "compare", "doctor", "look", "views", "methods", "check", "cache"),
}
"""The commands as the overview lists them."""
# Libraries read these once, when they start. Spinning threads slow each other down on a busy machine; large tensors in
# small memory pages cause many page faults; LanceDB logs its internals.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "THP_MEM_ALLOC_ENABLE": "1", "LANCE_LOG": "error"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0 success, 1 the command failed, 2 wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"withhold {withhold.__version__}")
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # shut down cleanly at any point
    os.environ |= {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    if any("hf:" in word or "timm:" in word for word in arguments) and not _hub_is_known():
        os.environ["HF_HUB_OFFLINE"] = "1"  # use local files only, without waiting for the network
    name, rest = arguments[0], arguments[1:]
    debug = "--debug" in rest
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("withhold").setLevel(logging.INFO)
    try:
        if name not in VERBS:
            raise UsageError(f"There is no command {name!r}: {suggestion(name, VERBS)}")
        function = VERBS[name]
        parser = argparse.ArgumentParser(
            f"withhold {name}", description=getdoc(function), formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object, on the last line")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.add_argument(
            "--trust", metavar="FILE", action=_Trust, default=argparse.SUPPRESS,
            help="a Python file that the run needs and that may be executed, if the run is from another machine",
        )  # fmt: skip
        function(parser, rest)
        return 0
    except WithholdError as error:
        if debug:
            raise
        say(f"withhold: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("withhold: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        sys.stderr.close()
        return 0
    except OSError as error:  # such as a path that cannot be written
        if debug or error.filename is None:
            raise
        say(f"withhold: {error.filename}: {error.strerror}. Choose another path.", file=sys.stderr)
        return 1


def _hub_is_known() -> bool:
    """Whether the hub's host name resolves here; with a proxy, the proxy resolves it."""
    try:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        return bool(urllib.request.getproxies() or socket.getaddrinfo(urllib.parse.urlsplit(endpoint).hostname, 443))
    except OSError:
        return False


class _Formatter(logging.Formatter):
    def formatMessage(self, record) -> str:  # without the lines of a traceback
        return printable(super().formatMessage(record))


class _Trust(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        outside.trust(values)


def _overview() -> str:
    lines = ["withhold: learn from unlabelled data."]
    for title, names in GROUPS.items():
        lines += ["", title]
        lines += [f"  withhold {name:<10} {(VERBS[name].__doc__ or '').strip().splitlines()[0]}" for name in names]
    end = "`withhold COMMAND --help` lists the options of a command. Start with: withhold demo"
    return "\n".join([*lines, "", end])
