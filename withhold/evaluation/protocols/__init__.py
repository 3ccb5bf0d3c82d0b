"""Protocols: one file each. A protocol's name is its file's name, and its `measure(task)` gives its rows."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold.errors import UsageError, suggestion
from withhold.evaluation.task import Task


def names() -> list[str]:
    """The names of all protocols."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def find(name: str) -> Callable[[Task], list[dict[str, Any]]]:
    """The protocol called `name`: a task -> its rows, each with at least "metric" and "value".

    Raises:
        UsageError: there is none of that name.
    """
    if name not in names():
        raise UsageError(f"There is no protocol {name!r}: {suggestion(name, names())}")
    return importlib.import_module(f"withhold.evaluation.protocols.{name}").measure
