"""Long work in stages, each a run in a common folder: finished stages are kept and not repeated."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold.errors import UsageError, WithholdError
from withhold.runs.folder import begun
from withhold.runs.run import Run

log = logging.getLogger("withhold")


def stage(path: Path, make: Callable[[Path], Run], resume: Callable[[Path, dict[str, Any]], Run] | None = None) -> Run:
    """Return the run at `path`; if it is missing or unfinished, make it.

    Args:
        resume: continues an unfinished run, whose training options it is given, from its last checkpoint. If it
            refuses, the run is made again.
    """
    if begun(path):
        run = Run(path)
        if run.finished:
            return run
        if resume is not None and (path / "checkpoints" / "last.ckpt").is_file():
            try:
                return resume(path, run.config["training"])
            except WithholdError as error:
                log.warning("%s cannot be resumed (%s) and is trained again", path, str(error).rstrip("."))
    shutil.rmtree(path, ignore_errors=True)
    return make(path)


def check_asked(folder: Path, before: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raises: UsageError: the options `asked` differ from those that the work in `folder` began with."""
    for name, value in asked.items():
        if before[name] != value:
            raise UsageError(
                f"{folder} was made with {name} {before[name]}, not {value}. Repeat its own options to resume it, or "
                "choose another --out."
            )


def check_data(folder: Path, before: str, now: str) -> None:
    """Raises: UsageError: the fingerprint of the items has changed since the work in `folder` began."""
    if before != now:
        raise UsageError(
            f"The items or the labels of {folder} have changed since it began. Choose another --out to train on them "
            "as they are now."
        )
