"""Protocols: one file each. A protocol's name is its file's name, and its `measure(task)` gives its rows."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold.errors import UsageError, suggestion


def names() -> list[str]:
    """The names of all protocols."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def find(name: str) -> Callable[..., list[dict[str, Any]]]:
    """The protocol called `name`: a task (see `takes`) -> its rows, each with at least "metric" and "value".

    Raises:
        UsageError: there is none of that name.
    """
    return _module(name).measure


def takes(name: str) -> str:
    """What a protocol is about: "labelled" items, "pairs", labelled or not, or "sequences": videos with masks.

    Of sequences its measure takes a tracker.

    Raises:
        UsageError: there is none of that name.
    """
    return getattr(_module(name), "TAKES", "labelled")


def _module(name: str) -> Any:
    if name not in names():
        raise UsageError(f"There is no protocol {name!r}: {suggestion(name, names())}")
    return importlib.import_module(f"withhold.evaluation.protocols.{name}")
