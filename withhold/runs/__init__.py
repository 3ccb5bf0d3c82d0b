"""Runs: training, loading and using them, and encoders from other sources."""

from pathlib import Path
from typing import Any

import pyarrow

from withhold.runs.embedder import Embedder
from withhold.runs.export import export, write_table
from withhold.runs.loading import load
from withhold.runs.preview import preview
from withhold.runs.ranking import label
from withhold.runs.run import Run
from withhold.runs.trainer import train

__all__ = ["Embedder", "Run", "embed", "evaluate", "export", "label", "load", "preview", "train", "write_table"]


def embed(name: str | Path, source: Any, **options: Any) -> pyarrow.Table:
    """Embed every item of `source` with the run or encoder called `name`; options as for `Embedder.embed`."""
    return load(name).embed(source, **options)


def evaluate(name: str | Path, source: Any, **options: Any) -> list[dict[str, Any]]:
    """Evaluate the run or encoder called `name` on `source`; options as for `Embedder.evaluate`."""
    return load(name).evaluate(source, **options)
