"""The demo: all steps on scikit-learn's digits."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from withhold import data
from withhold.errors import UsageError
from withhold.evaluation.protocols.lowshot import draw
from withhold.report import write_demo
from withhold.runs import train
from withhold.training import Row

# A pretext task, an autoencoder and a contrastive method, with their numbers of epochs.
METHODS = {"rotation": 6, "denoising_autoencoder": 10, "simclr": 14}
# Two trainings on few labels, with the encoder that they start from and their name in the table.
CLASSIFIERS = {"finetune": ("simclr", "fine-tuned after simclr"), "scratch": (None, "trained from scratch")}
LABELS, PASSES = 5, 30
"""Labels of each digit, and epochs over them; after 150 epochs, training from scratch is equally good."""
SIZE = 16
"""Image size in pixels; the digits themselves have 8."""

Rows = list[dict[str, Any]]


def demo(folder: Path, *, seed: int = 0, progress: Callable[[Row, int], None] | None = None) -> tuple[Rows, Rows, Path]:
    """Train three methods on scikit-learn's digits without labels, then two classifiers with five labels per digit.

    A fifth of the digits is held out from all trainings, and every row is measured on it.

    Returns:
        the rows of the encoders' evaluation, those of the classifiers, and the path of the report on all of them.

    Raises:
        UsageError: the folder holds something other than an earlier demo.
    """
    page = folder / "report.html"
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if held not in (set(), {*METHODS, *CLASSIFIERS, page.name}):
        raise UsageError(f"{folder} is not the folder of a complete demo. Choose another --out, or delete it.")
    for name in held:
        shutil.rmtree(folder / name) if name != page.name else page.unlink()
    seen, held_out = data.load("digits", size=SIZE).split(0.2, seed)
    options: dict[str, Any] = {"seed": seed, "progress": progress}
    runs = [train(name, seen, size=SIZE, epochs=n, out=folder / name, **options) for name, n in METHODS.items()]
    encoders: Rows = []
    for run in runs:
        last = run is runs[-1]
        rows = run.evaluate(seen, held_out, protocols=("knn", "linear", "lowshot"), supervised=last)
        encoders += [{"method": run.config["method"], **row} for row in rows if row["encoder"] == "trained"]
        if last:  # the controls are the same for all
            encoders += [{"method": "", **row} for row in rows if row["encoder"] != "trained"]

    drawn = draw(torch.as_tensor(seen.labels), LABELS, torch.Generator().manual_seed(seed)).numpy()
    few = seen.select(np.sort(drawn))
    classifiers: Rows = []
    for name, (start, called) in CLASSIFIERS.items():
        encoder = start and str(folder / start)
        own: dict[str, Any] = {"flip": 0.0, "probe": start is not None, "size": None if start else SIZE}
        run = train("finetune", few, encoder=encoder, epochs=PASSES, out=folder / name, **options, **own)
        rows = run.evaluate(few, held_out, protocols=("classifier", "linear"))
        classifiers += [{"method": called, **row} for row in rows if row["encoder"] == "trained" or start]
        runs.append(run)
    for row in classifiers:
        row["data"] += f", {len(few)} labels"
    return encoders, classifiers, write_demo(encoders + classifiers, runs, page, held_out)
