"""Long work in stages, each a run in the folder of the whole: what was made is kept, and made once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold.errors import UsageError
from withhold.runs.folder import begun
from withhold.runs.run import Run


def stage(path: Path, make: Callable[[Path], Run]) -> Run:
    """The run at `path`, which is made where it is not there whole."""
    if begun(path) and Run(path).finished:
        return Run(path)
    shutil.rmtree(path, ignore_errors=True)
    return make(path)


def check_asked(folder: Path, before: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raises: UsageError: what is asked now, by the names of options, is not what the work in `folder` began with."""
    for name, value in asked.items():
        if before[name] != value:
            raise UsageError(
                f"{folder} was learned with {name} {before[name]}, not {value}: repeat its own options to go on with "
                "it, or name another --out."
            )


def check_data(folder: Path, before: str, now: str) -> None:
    """Raises: UsageError: the fingerprint of the items is another one than when the work in `folder` began."""
    if before != now:
        raise UsageError(
            f"The items or the labels that {folder} was learned from have changed: name another --out to learn from "
            "them as they are now."
        )
