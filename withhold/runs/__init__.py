"""Runs: making them, loading them, and what can be done with them."""

from pathlib import Path
from typing import Any

import pyarrow

from withhold.runs.export import export, write_table
from withhold.runs.preview import preview
from withhold.runs.run import Run
from withhold.runs.trainer import train

__all__ = ["Run", "embed", "evaluate", "export", "load", "preview", "train", "write_table"]


def load(folder: str | Path, method: str | None = None, encoder: str | None = None) -> Run:
    """The run in `folder`; `method` and `encoder` name the Python files with which it was made elsewhere, if any."""
    return Run(folder, method, encoder)


def embed(run: str | Path, source: Any, **options: Any) -> pyarrow.Table:
    """`withhold.load(run).embed(source)`."""
    return load(run).embed(source, **options)


def evaluate(run: str | Path, source: Any, **options: Any) -> list[dict[str, Any]]:
    """`withhold.load(run).evaluate(source)`."""
    return load(run).evaluate(source, **options)
