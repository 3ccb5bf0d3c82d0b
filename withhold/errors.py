"""Errors with messages for users: each names what is wrong and how to fix it."""

from collections.abc import Iterable
from difflib import get_close_matches


class WithholdError(Exception):
    """A job that cannot continue. The command line prints the message and exits with status 1."""


class UsageError(WithholdError):
    """An invalid request. The command line prints the message and exits with status 2."""


def suggestion(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: the most similar valid names, or all of them if none is similar."""
    names = sorted(names)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"choose from {', '.join(names)}." if names else "no names are available."
