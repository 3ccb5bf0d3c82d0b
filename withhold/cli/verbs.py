"""Verbs by name: one function each, nothing but parsing and printing."""

import argparse
from collections.abc import Callable

Verb = Callable[[argparse.ArgumentParser, list[str]], None]
VERBS: dict[str, Verb] = {}


def verb(function: Verb) -> Verb:
    """Declare a function as the verb of its name."""
    VERBS[function.__name__] = function
    return function
