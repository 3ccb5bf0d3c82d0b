"""The commands by name, one function each, which only parses options and prints results."""

import argparse
from collections.abc import Callable

Verb = Callable[[argparse.ArgumentParser, list[str]], None]
VERBS: dict[str, Verb] = {}


def verb(function: Verb) -> Verb:
    """Register a function as the command of its name."""
    VERBS[function.__name__] = function
    return function
