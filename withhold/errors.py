"""The errors a person reads: one sentence that names the thing and the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


class WithholdError(Exception):
    """A job that cannot go on. The command line prints its sentence and exits with status 1."""


class UsageError(WithholdError):
    """A request that makes no sense as written. The command line prints its sentence and exits with status 2."""


def suggestion(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about a wrong `name`: the nearest right ones, or all of them when none is near."""
    names = sorted(names)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"choose from {', '.join(names)}." if names else "there is none to choose from."
