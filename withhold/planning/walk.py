"""The steps of planning: a network for each task, heads for each target on its features, and the plan."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from withhold import evaluation, nets
from withhold.console import counted, duration, quiet
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.files import read_json, write_json, writing
from withhold.nets import Encoder, ImageEncoder
from withhold.planning import transfers
from withhold.planning.affinity import affinities, win_rates
from withhold.planning.programme import choose
from withhold.planning.tasks import RANDOM, Task, Truth
from withhold.runs import load, train
from withhold.runs.build import build_encoder
from withhold.runs.stages import check_asked, check_data, stage
from withhold.training import Row, defaults

log = logging.getLogger("withhold")

FILE, PAGE = "plan.json", "plan.html"
SCRATCH = ()
"""Stands for the sources of the control, which learns a target from scratch."""
FEW, HELD, SHARE = 1000, 1000, 0.2
"""Largest number of items to train heads on, and to measure them on; and the largest share of all items for each."""
CHOOSING, JUDGING = slice(0, None, 2), slice(1, None, 2)
"""Held-out items for affinities, and for gain and quality: different ones, to avoid selection bias."""
TASKS, READING = 0.55, 0.35
"""Shares of the minutes for tasks and for heads; the rest is for features."""
STEPS, LEAST, TIMED = 1000, 10, 6
"""Most and fewest training steps of a head, and steps used for timing."""
BEAM = 5
"""Number of best sources of a target that are combined."""
Sources = tuple[str, ...]


class Walk:
    """The tasks on `samples` and their networks and results so far, in `folder`.

    Args:
        asked: the options, which must not change between calls.
        encoder: the architecture of all networks.
        progress: called with every row of a training's journal, and with a row for each head.
    """

    def __init__(
        self, folder: Path, samples: Samples, tasks: dict[str, Task], asked: dict[str, Any], encoder: str,
        progress: Callable[[Row, int], None] | None,
    ):  # fmt: skip
        self.folder, self.file, self.asked = folder, folder / FILE, asked
        self.tasks, self.encoder, self.progress = tasks, encoder, progress or (lambda row, steps: None)
        self.state: dict[str, Any] = {"asked": asked, "fingerprint": samples.fingerprint, "steps": None}
        if self.file.is_file():
            self.state = read_json(self.file, f"Delete {folder} to plan again.")
            check_asked(folder, self.state["asked"], asked)
            check_data(folder, self.state["fingerprint"], samples.fingerprint)
        seed, count = asked["seed"], len(samples)
        rest, held = samples.split(min(HELD / count, SHARE), seed, samples.digests())
        self.many, few = rest.split(min(FEW / len(rest), SHARE / (1 - SHARE)), seed, rest.digests())
        self.parts = few, held
        self.named = load(encoder)
        with quiet():  # it names the size that suits the encoder, but all networks have that of the samples
            self.named.suit(samples)
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}

    def go(self, targets: Sequence[str], budget: int, order: int) -> dict[str, Any]:
        """Train and measure what is missing; returns the content of plan.json."""
        truths = {target: self.truth(target) for target in targets}
        write_json(self.file, self.state)
        for name in self.tasks:
            self.maps(name)
        if self.state["steps"] is None:
            self.state["steps"] = self.pace(truths, order)
            write_json(self.file, self.state)
        self.done, self.began = 0, time.perf_counter()
        self.planned = len(truths) * (1 + sum(self.counts(order)))
        rows = [row for target, truth in truths.items() for row in self.compare(target, truth, order)]
        fresh = [target for target in targets if served_best(r for r in rows if r["target"] == target) == [RANDOM]]
        self.state |= {
            "fresh": fresh, "budget": budget, "order": order, "targets": list(targets), "rows": rows,
            "items": {"tasks": len(self.many), "targets": len(self.parts[0]), "held out": len(self.parts[1])},
            "plan": best(rows, budget),
        }  # fmt: skip
        write_json(self.file, self.state)
        return self.state

    def network(self, name: str) -> Encoder:
        """The encoder of a task; the control is randomly initialised, with batch statistics of the items."""
        task = self.tasks[name]
        if task.method is None:
            encoder = self.fresh()
            nets.refresh_statistics(encoder, evaluation.plain_batches([self.many], defaults.device()))
            return encoder
        log.info("training on %s", name)
        minutes = TASKS * self.asked["minutes"] / (len(self.tasks) - 1)
        learn = partial(
            train, str(task.method), task.teach(self.many), encoder=self.encoder, size=self.many.shape[0],
            minutes=minutes, seed=self.asked["seed"], no_report=True, progress=self.progress, **task.parameters,
        )  # fmt: skip
        path = self.folder / "tasks" / quote(name, safe="")
        return stage(path, lambda out: learn(out=out), lambda out, before: learn(out=out, resume=True)).encoder

    def fresh(self) -> ImageEncoder:
        """A randomly initialised network with the input of the tasks' networks."""
        config = self.named.fresh
        if "size" in config:
            config["size"] = self.many.shape[0]
        return cast(ImageEncoder, build_encoder(config, self.asked["seed"]).to(defaults.device()))

    def maps(self, name: str) -> tuple[Tensor, Tensor]:
        """The feature maps of a task's network on training and held-out items, float16 [n, dim, g, g]."""
        if name not in self.kept:
            paths = [self.path((name,), "maps", part) for part in ("few", "held")]
            if not all(path.is_file() for path in paths):
                encoder = self.network(name)
                for path, part in zip(paths, self.parts, strict=True):
                    save(path, nets.rows(encoder, encoder.maps, part, defaults.device()).half().numpy())
            few, held = (torch.from_numpy(np.load(path, mmap_mode="c")) for path in paths)
            self.kept[name] = few, held
        return self.kept[name]

    def truth(self, target: str) -> tuple[Truth, Truth]:
        """The true values of training and held-out items, standardised by the former."""
        few, held = (self.tasks[target].truth(part) for part in self.parts)
        told = few.values[few.known]
        if min(len(told), int(held.known.sum())) < 2 or (told == told.flatten()[0]).all():
            raise UsageError(
                f"The target {target} has too few labelled items, or the same value for all. Label more items, or omit "
                "it."
            )
        return few.scaled(few), held.scaled(few)

    def pace(self, truths: dict[str, tuple[Truth, Truth]], order: int) -> int:
        """The number of training steps of every head that fits the minutes beside what reads cost without any step."""
        weighted = sum(number * count for number, count in enumerate(self.counts(order), 1))
        fixed = each = 0.0
        self.read((RANDOM,), next(iter(truths.values())), 1)  # the first read is slow, since libraries are loaded
        for truth in truths.values():
            for sources, reads in (((RANDOM,), weighted), (SCRATCH, 1)):
                none, some = (self.seconds(sources, truth, steps) for steps in (0, TIMED))
                none = none if none < some else 0.0  # it was interrupted, and steps must not look free
                fixed += reads * none
                each += reads * (some - none) / TIMED
        steps = int((60 * READING * self.asked["minutes"] - fixed) / each)
        steps = min(STEPS, max(LEAST, steps))
        log.info("each head is trained for %s, with batches of %s", counted(steps, "step"), transfers.BATCH)
        return steps

    def counts(self, order: int) -> list[int]:
        """The number of heads of a target on one source, on two combined, ..."""
        several = [comb(min(max(BEAM, k), len(self.tasks) - 1), k) for k in range(2, order + 1)]
        return [len(self.tasks), *several]

    def seconds(self, sources: Sources, truth: tuple[Truth, Truth], steps: int) -> float:
        """How long `read` takes."""
        began = time.perf_counter()
        self.read(sources, truth, steps)
        return time.perf_counter() - began

    def read(self, sources: Sources, truth: tuple[Truth, Truth], steps: int) -> np.ndarray:
        """The errors of a head on the features of `sources`, on the held-out items with known values."""
        rows, asked = (part.known.nonzero()[:, 0] for part in truth)
        few, held = (part.select(known) for part, known in zip(truth, (rows, asked), strict=True))
        if sources == SCRATCH:
            return self.scratch(few, held, rows, asked, steps)
        parts = [(self.maps(name)[0][rows], self.maps(name)[1][asked]) for name in sources]
        return transfers.transfer(parts, few, held, steps, self.asked["seed"]).numpy()

    def scratch(self, few: Truth, held: Truth, rows: Tensor, asked: Tensor, steps: int) -> np.ndarray:
        """The errors of a network trained from scratch on a target."""
        images = [nets.batches(part, which, "cpu") for part, which in zip(self.parts, (rows, asked), strict=True)]
        seen, unseen = (torch.cat(list(part)) for part in images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.asked["seed"])
            network = transfers.Scratch(self.fresh(), few)
        transfers.learn(network, seen, few, steps, self.asked["seed"])
        return transfers.judge(network, unseen, held).numpy()

    def errors(self, target: str, truth: tuple[Truth, Truth], sources: Sources) -> np.ndarray:
        """As `read`, cached on disk."""
        path = self.path(sources, "errors", target) if sources else self.path((target,), "scratch")
        if not path.is_file():
            save(path, self.read(sources, truth, self.state["steps"]))
        self.done += 1
        seconds = time.perf_counter() - self.began
        each = self.state["steps"] * transfers.BATCH * self.done / seconds
        self.progress({"step": self.done, "seconds": seconds, "items_per_second": each}, self.planned)
        return np.load(path)

    def compare(self, target: str, truth: tuple[Truth, Truth], order: int) -> list[dict[str, Any]]:
        """The rows of a target: affinity, gain and quality for each source and for combinations of the best.

        Only the best sources of the target are combined, as in section 3.2 of the paper.
        """
        began = time.perf_counter()
        single: list[Sources] = [(name,) for name in self.tasks]
        scratch = self.errors(target, truth, SCRATCH)
        found = {sources: self.errors(target, truth, sources) for sources in single}
        worth = weigh(found)
        ranked = [single[place][0] for place in np.argsort(-worth, kind="stable")]
        ranked.remove(RANDOM)
        for k in range(2, order + 1):
            for sources in combinations(ranked[: max(BEAM, k)], k):
                found[tuple(sorted(sources))] = self.errors(target, truth, tuple(sorted(sources)))
        worth = weigh(found)
        rows = [
            {
                "sources": list(sources), "target": target, "affinity": float(affinity),
                "gain": beats(found[sources], scratch), "quality": beats(found[sources], found[target,]),
            }
            for sources, affinity in zip(found, worth, strict=True)
        ]  # fmt: skip
        if served_best(rows) == [RANDOM]:
            log.warning("%s: no task is better than random weights; give more --minutes", target)
        took = duration(time.perf_counter() - began)
        log.info("%s: %s in %s, best source: %s", target, counted(len(rows) + 1, "head"), took, ranked[0])
        return rows

    def path(self, names: Sources, *folders: str) -> Path:
        """The file of an array of these tasks."""
        named = "+".join(quote(name, safe="") for name in names)
        return self.folder.joinpath(*(quote(folder, safe="") for folder in folders), f"{named}.npy")


def weigh(errors: dict[Sources, np.ndarray]) -> np.ndarray:
    """The affinities of candidates, by their errors on the items for choosing."""
    return affinities(win_rates(np.stack([found[CHOOSING] for found in errors.values()])))


def served_best(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The sources of the row with the highest affinity, among rows of one target."""
    return max(rows, key=lambda row: row["affinity"])["sources"]


def best(rows: Sequence[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """The rows of the plan: the best for all targets with at most `budget` tasks. The control is never chosen."""
    return choose([row for row in rows if RANDOM not in row["sources"]], budget)


def beats(errors: np.ndarray, others: np.ndarray) -> float:
    """The share of the items for judging on which the first errors are lower."""
    return float(win_rates(np.stack([errors[JUDGING], others[JUDGING]]))[0, 1])


def save(path: Path, values: np.ndarray) -> None:
    """Write an array to a file atomically."""
    with writing(path) as partial, partial.open("wb") as file:
        np.save(file, values)
