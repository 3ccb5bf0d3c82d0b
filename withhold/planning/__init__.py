"""Task planning: which tasks to train for which targets under a budget (Zamir et al., CVPR 2018)."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.console import once
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.files import filling
from withhold.options import Options
from withhold.planning.page import write_page
from withhold.planning.tasks import DENSE, Task, bank
from withhold.planning.walk import FILE, PAGE, Walk
from withhold.runs.build import suited_size
from withhold.runs.folder import folder_of
from withhold.runs.loading import find
from withhold.training import Row, defaults

__all__ = ["FILE", "PAGE", "plan"]

SIZE = 64
"""Largest default image size on a CPU, since there are many networks to train."""


@once()  # every network is trained on the same data, about which training warns
def plan(
    source: Any,
    *,
    budget: int,
    tasks: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    order: int = 2,
    minutes: float | None = None,
    encoder: str | None = None,
    size: int | None = None,
    labels: data.Labels | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[Row, int], None] | None = None,
) -> dict[str, Any]:
    """Train a network on each task, measure which task helps which target, and choose the best `budget` tasks.

    Networks of one architecture are trained on each task for the same time, on most of the items. Then a two-layer head
    learns each target from the features of each network, and of combinations of the best ones, on up to 1,000 other
    items. Affinities follow from how often one transfer has a lower error than another on held-out items. They give an
    optimal plan, which is judged on further held-out items. If a target's own task is in the plan, it is trained
    directly.

    Networks are saved in the folder, and the same call resumes after an interruption. A different budget, order or
    targets reuse the networks.

    Args:
        source: images, as `withhold.data.load` takes them.
        budget: largest number of tasks in the plan.
        tasks: names of tasks: autoencoding, denoising, inpainting, colorization, jigsaw, rotation, edges, corners;
            label, the names of other columns, mask; by default all that the data support. "random", a randomly
            initialised network, is always included.
        targets: the tasks that you need; by default all with labels, and edges, corners and autoencoding.
        order: largest number of sources combined for a target.
        minutes: time budget; by default 10 on a CPU and 30 on a GPU.
        encoder: the name of the architecture; by default chosen for the hardware.
        size: height and width of the images in pixels.
        labels: one or several csv files with the columns path and label, for some of the items.
        seed: seed of split, weights and views.
        out: the folder; by default `runs/plan-DATA`.
        progress: called with every row of a training's journal, and with a row for each head, and the planned number.

    Returns:
        the content of plan.json: "rows", one per transfer, with "sources", "target", "affinity", "gain" (the share of
        held-out items on which its error is lower than that of a network trained from scratch on the target's items)
        and "quality" (the same, compared with features of the target's own network); the rows of the "plan"; and
        "fresh", the targets for which the randomly initialised network is best.

    Raises:
        UsageError: an invalid name or value, missing labels, or a folder that holds something else.
    """
    began = time.perf_counter()
    for name, value in (("budget", budget), ("order", order)):
        if value < 1:
            raise UsageError(f"The {name} must be at least 1, not {value}.")
    device = defaults.device()
    minutes = defaults.minutes(device) if minutes is None else minutes
    Options(minutes=minutes, size=size, seed=seed)  # checks them
    if encoder and find(encoder) is not None:
        raise UsageError(f"{encoder} is a run, but networks start from random weights. Give the name of an encoder.")
    encoder = encoder or defaults.encoder(registry.find("rotation"), device, "image")
    if size is None:
        size = suited_size(data.measure(source, "image").size, encoder, False)
        size = min(size, SIZE) if device.type == "cpu" else size
    parts = () if isinstance(source, Samples) else data.learnable(source)  # samples have their parts
    samples = data.load(source, size=size, parts=parts, labels=labels)
    known = bank(samples, tasks)
    wanted = _targets(known, targets)
    folder = folder_of("plan", (source,), out)
    asked = {
        "data": data.address(source), "tasks": list(known), "minutes": minutes, "encoder": encoder, "size": size,
        "seed": seed,
    }  # fmt: skip
    with filling(folder, lambda: (folder / FILE).is_file()):
        found = Walk(folder, samples, known, asked, encoder, progress).go(wanted, budget, order)
        write_page(folder / PAGE, found)
    return found | {"folder": str(folder), "seconds": time.perf_counter() - began}


def _targets(tasks: dict[str, Task], names: Sequence[str] | None) -> list[str]:
    """The targets with these names, by default all possible targets."""
    able = [name for name, task in tasks.items() if task.asked]
    for name in names or ():
        if name not in tasks:
            raise UsageError(f"The target {name} is not one of the tasks. Add it to --tasks, or omit it.")
        if name not in able:
            raise UsageError(
                f"{name} cannot be a target, since it asks about a change made to the image. Choose targets "
                f"from {', '.join(able) or 'tasks with labels'}."
            )
    if not able:
        raise UsageError(f"None of the tasks can be a target. Add one with labels, or {', '.join(DENSE)}.")
    return list(dict.fromkeys(names or able))
