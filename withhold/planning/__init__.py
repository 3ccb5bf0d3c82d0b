"""Planning: which tasks to learn for which targets, when not everything can be learned (Zamir et al., CVPR 2018)."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.files import filling
from withhold.planning.page import write_page
from withhold.planning.tasks import DENSE, Task, bank
from withhold.planning.walk import FILE, PAGE, Walk
from withhold.runs.build import suited_size
from withhold.runs.folder import folder_of
from withhold.training import Row, defaults

__all__ = ["FILE", "PAGE", "plan"]

SIZE = 64
"""Pixels that a CPU sees of images at most, where nobody names a size: there are many networks to train."""


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
    labels: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[Row, int], None] | None = None,
) -> dict[str, Any]:
    """Learn tasks, measure which one helps which, and say which `budget` of them serve all targets best.

    A network of one architecture learns each task, for the same time, from most of the items. Then two layers read each
    target from the features of each network, and of the best ones together, by up to 1,000 other items. How often one
    transfer errs less than another on items that neither saw gives affinities, and these an optimal plan, which is
    judged on other such items. A target's own task may be among its sources: then it is learned directly.

    What was learned is kept in the folder, and the same call goes on after an interruption. Another budget, order or
    other targets need no new network.

    Args:
        source: images, as `withhold.data.load` takes them.
        budget: tasks that the plan may learn.
        tasks: their names: autoencoding, denoising, inpainting, colorization, jigsaw, rotation, edges, corners; label,
            the names of further columns, mask; by default all that the data have. Fresh weights, "random", are always
            among them.
        targets: those of the tasks that are wanted; by default all with labels, and edges, corners and autoencoding.
        order: how many sources may serve a target together.
        minutes: how long a person waits.
        encoder: the architecture; by default what suits the hardware.
        size: height and width of the images in pixels.
        labels: a file with the labels of some items.
        seed: of the split, weights and views.
        out: the folder; `runs/plan-DATA` where it is not named.
        progress: told every row of a training's journal, and of reading one for each read-out, with the number planned.

    Returns:
        what plan.json holds: "rows", a row a transfer with its "sources", "target", "affinity", its "gain", on how many
        held-out items it errs less than what learned the target from those few items alone, and its "quality", the same
        beside what is read from the target's own network; the rows of the "plan"; and "fresh", the
        targets that fresh weights serve best.

    Raises:
        UsageError: a name or value that makes no sense, labels that are missing, or a folder that holds something else.
    """
    began = time.perf_counter()
    for name, value in (("budget", budget), ("order", order)):
        if value < 1:
            raise UsageError(f"The {name} must be at least 1, not {value}.")
    device = defaults.device()
    minutes = minutes or defaults.minutes(device)
    encoder = encoder or defaults.encoder(registry.find("rotation"), device, "image")
    if size is None:
        size = suited_size(data.measure(source, "image").size, encoder, False)
        size = min(size, SIZE) if device.type == "cpu" else size
    parts = None if isinstance(source, Samples) else data.learnable(source)  # they have theirs
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
    """The targets of these names, by default all that can be one."""
    able = [name for name, task in tasks.items() if task.asked]
    for name in names or ():
        if name not in tasks:
            raise UsageError(f"The target {name} is none of the tasks: name it among them too, or leave it out.")
        if name not in able:
            raise UsageError(
                f"{name} is learned from, and nothing to ask of an image as it is: choose targets from "
                f"{', '.join(able) or 'those with labels'}."
            )
    if not able:
        raise UsageError(f"None of the tasks can be a target: add one with labels, or {', '.join(DENSE)}.")
    return list(dict.fromkeys(names or able))
