"""The search for a classifier: measures routes, the cheap ones first, and keeps the best as a run."""

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from withhold import methods as registry
from withhold.console import duration
from withhold.files import read_json, write_json
from withhold.labelling import rank
from withhold.learning import folds, reasons, routes
from withhold.learning.calibration import calibration_error, cross_fitted, temperature
from withhold.learning.given import Given, Known
from withhold.learning.mislabelled import mislabelled
from withhold.learning.routes import Route
from withhold.report.routes import FILE
from withhold.runs import Run
from withhold.runs.folder import begun
from withhold.runs.stages import check_asked, check_data, stage
from withhold.runs.told import BEFORE, are_told, read_told
from withhold.training import defaults

log = logging.getLogger("withhold")

STAGES = "stages"
WITHOUT_LABELS = {"image": "simclr", "video": "shuffle_and_learn", "text": "skipgram"}
"""Method that trains without labels, by kind of data."""
FROM_ALL = {"image": "uda", "text": "uda_text"}
"""Method that trains on labelled and unlabelled items."""
SHARES = {"frozen": 0.05, "without": 0.3, "finetune": 0.25, "all": 0.3}
"""Share of the minutes for each frozen route, and for each training including its repetitions in the folds."""
PASSES, STEP, VIEWS = {"without": 5, "finetune": 20, "all": 5}, 3.0, {"without": 2, "finetune": 1, "all": 3}
"""Fewest passes over the data for a useful training; cost of a training step per view, in embeddings; and views."""
NEXT = 20
"""Number of items suggested for labelling."""


class Walk:
    """The routes of one source and their results so far, in `folder`."""

    def __init__(self, folder: Path, given: Given, asked: dict[str, Any], report: Callable[[dict[str, Any]], None]):
        self.folder, self.given, self.report = folder, given, report
        self.stages, self.file = folder / STAGES, folder / FILE
        self.routes: list[Route] = []
        self.scores: list[Tensor] = []
        self.took = 0.0  # minutes that the last route took
        self.state: dict[str, Any] = {
            "asked": asked, "rows": [], "kept": None, "why": "", "mislabelled": [], "next": [], "finished": False,
            "spent": 0.0, "fingerprint": None,
        }  # fmt: skip
        if self.file.is_file():
            self.state |= read_json(self.file, f"Delete {folder} to learn again.")
            check_asked(folder, self.state["asked"], asked)
            if begun(first := self.stages / "start") and self.state["finished"]:
                self.know(Run(first))
        self.began = time.perf_counter() - 60 * self.state["spent"]

    @property
    def left(self) -> float:
        """The remaining minutes; time spent before an interruption counts."""
        return self.given.minutes - (time.perf_counter() - self.began) / 60

    def part(self, name: str) -> float:
        """The minutes for a part of the search: its share, or what is left."""
        return min(SHARES[name] * self.given.minutes, self.left)

    def go(self, encoder: str | None, pretrained: bool, size: int | None) -> None:
        """Measure the routes in order, as far as labels and minutes allow; if interrupted, save the time spent."""
        try:
            self.measure_all(encoder, pretrained, size)
        except (KeyboardInterrupt, SystemExit):
            if self.stages.is_dir():
                self.save()
            raise
        finally:
            if self.file.is_file():
                self.save()

    def know(self, first: Run) -> Known:
        """The items as the run of the first probe decodes them. Raises: UsageError: they have changed."""
        known = Known.of(self.given, first)
        now = known.samples.fingerprint
        check_data(self.folder, self.state["fingerprint"] or now, now)
        self.state["fingerprint"] = now
        return known

    def measure_all(self, encoder: str | None, pretrained: bool, size: int | None) -> None:
        """Measure the routes in order, then finish."""
        given, kind = self.given, self.given.kind
        start = given.begin(encoder, pretrained, size)
        reads = kind == "text" and start["encoder"] is None  # word vectors must be trained first
        if reads:
            start = self.learned(start, given.source)
            self.save()
        first = stage(self.stages / "start", lambda to: given.probe(to, start, given.labels))
        if size := first.config["decoding"].get("size"):
            start = start | {"size": size}  # of all trainings: cross-validation must measure what is kept
        self.known = known = self.know(first)
        self.save()  # not earlier: wrong data or labels must leave no folder behind
        features, pace = routes.embedded(known, first, self.stages / "start.npy")
        told = [row for row in read_told(first.folder) if row["stream"] == BEFORE]
        new = ~are_told(told, first.encoder.kind, known.samples.select(known.rows))
        self.told = int((~new).sum())
        numbers, counts = folds.counted(known.labels, known.owners, new)
        enough = counts >= folds.LEAST
        if enough.sum() < 2:
            self.install(lambda to: Run(shutil.copytree(first.folder, to)), None)
            self.state["kept"] = "frozen features, logistic regression"
            rarest = known.classes[numbers[counts.argmin()]]
            self.state["why"] = reasons.not_compared(rarest, counts.min(), self.told)
            return self.finish(features)
        self.rare = [known.classes[number] for number in numbers[~enough]]
        if self.rare:
            log.warning(
                "%s: fewer than %s different labelled items; used for training, but left out of the comparison",
                ", ".join(self.rare), folds.LEAST,
            )  # fmt: skip
        compared = np.flatnonzero(np.isin(known.labels, numbers[enough]) & new)
        self.drawn = folds.fold(known.labels, known.owners, compared, seed=given.seed)
        self.compared = folds.held_out(self.drawn[0])
        log.info("%s", self.plan(pace))
        name = "word vectors" if reads else "pretrained features" if start["pretrained"] else "frozen features"
        few = 60 * SHARES["frozen"] * given.minutes
        frozen = routes.frozen(given, known, features, name, first, start, few)
        self.measure(routes.raw(given, known, few), *frozen)
        starts = {1: start}
        if not reads and kind in WITHOUT_LABELS:
            apart = WITHOUT_LABELS[kind]
            if not registry.accepts(registry.find(apart), first.encoder):
                log.info("%s does not train this encoder; learning without labels is skipped", apart)
            elif self.fits(f"features after {apart}", "without", pace, len(known.samples.windows()), 1):
                after = self.learned(start, known.bare)
                second = stage(self.stages / "learned-start", lambda to: given.probe(to, after, given.labels))
                after_it, _ = routes.embedded(known, second, self.stages / "learned.npy")
                place = len(self.routes)
                self.measure(*routes.frozen(given, known, after_it, f"features after {apart}", second, after, few))
                starts |= {place: after} if place < len(self.routes) else {}
        best = list(starts.values())[folds.choose([self.right(place) for place in starts])]
        for part, method in (("finetune", "finetune"), ("all", FROM_ALL.get(kind))):
            times = 1 + len(self.drawn[0])
            items = known.samples.select(known.rows) if part == "finetune" else known.samples
            if method is not None and self.fits(method, part, pace, len(items.windows()), times):
                each = self.row(method).get("each") or self.part(part) / times
                self.measure(routes.trained(given, known, method, best, each, self.stages))
        self.finish(features)

    def learned(self, start: dict[str, Any], source: Any) -> dict[str, Any]:
        """Train without labels, and return the resulting encoder as the start of further trainings."""
        method = WITHOUT_LABELS[self.given.kind]
        log.info("%s: training on all items without labels", method)
        minutes = self.part("without") if self.left > 0 else SHARES["without"] * self.given.minutes
        train = partial(self.given.train, method, source, start=start)
        run = stage(
            self.stages / "learned",
            lambda to: train(out=to, minutes=minutes),
            lambda to, before: train(out=to, minutes=before["minutes"], resume=True),
        )
        return {"encoder": str(run.folder), "pretrained": False, "size": None}

    def plan(self, pace: float) -> str:
        """How the minutes are divided, in words."""
        parts = {"frozen features": "frozen", "learning without labels": "without", "fine-tuning": "finetune"}
        parts |= {FROM_ALL[self.given.kind]: "all"} if self.given.kind in FROM_ALL else {}
        if self.given.kind not in WITHOUT_LABELS:
            del parts["learning without labels"]
            log.info("no method trains on %s data without labels; this step is skipped", self.given.kind)
        each = ", ".join(f"{name} {duration(60 * SHARES[part] * self.given.minutes)}" for name, part in parts.items())
        return f"time budget {duration(60 * self.given.minutes)}: {each}; one embedding takes {1000 * pace:.0f} ms"

    def fits(self, name: str, part: str, pace: float, count: int, times: int) -> bool:
        """Whether there are enough minutes for a useful training; if not, a row says that it was skipped."""
        if decided := self.row(name):
            return "needs" not in decided
        items = min(PASSES[part] * count, defaults.STEPS * defaults.SMALL)
        takes, has = times * STEP * VIEWS[part] * pace * items / 60, self.part(part)
        if takes <= has:
            return True
        self.skip(name, takes, has, max(takes / SHARES[part], self.given.minutes - self.left + takes))
        return False

    def row(self, name: str) -> dict[str, Any]:
        """The row of a route, or of the first route with these features; {} if there is none."""
        return next((row for row in self.state["rows"] if name in (row["route"], row["route"].partition(",")[0])), {})

    def skip(self, name: str, takes: float, has: float, needs: float) -> dict[str, Any]:
        """Skip a route: it takes `takes` minutes, has `has`, and needs a budget of `needs` in all."""
        return self.add({"route": name, "takes": takes, "has": max(has, 0.0), "needs": needs})

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Save a row and report it."""
        self.state["rows"].append(row)
        self.save()
        self.report(row)
        return row

    def save(self) -> None:
        self.state["spent"] = self.given.minutes - self.left
        write_json(self.file, self.state)

    def right(self, place: int) -> np.ndarray:
        """Which held-out items a route classified correctly [repeats, n]."""
        right = self.scores[place].argmax(2).numpy() == self.known.labels
        return right[:, self.compared].astype(float)

    def measure(self, *found: Route) -> None:
        """Measure routes by cross-validation, unless already measured, and keep the best so far.

        Once there is a classifier, a route is skipped if less time is left than the previous one took.
        """
        for route in found:
            path, measured = self.stages / f"{route.name}.npy", self.row(route.name)
            if not measured and self.left < self.took and any(other.keep is not None for other in self.routes):
                measured = self.skip(route.name, self.took, self.left, self.given.minutes - self.left + self.took)
            if "needs" in measured:
                continue
            if measured and path.is_file():
                scores, seconds = torch.from_numpy(np.load(path)), 0.0
            else:
                began = time.perf_counter()
                scores = route.measure(self.drawn, len(self.known.rows), len(self.known.classes))
                seconds = time.perf_counter() - began
                np.save(path, scores.numpy())
            self.routes.append(route)
            self.scores.append(scores)
            if not measured:
                self.took = seconds / 60
                self.add(self.described(route, scores) | {"minutes": round(self.took, 2)})
        self.choose()

    def described(self, route: Route, scores: Tensor) -> dict[str, Any]:
        """The row of a route: accuracy and interval, temperature and calibration error."""
        labels, compared = torch.as_tensor(self.known.labels), self.compared
        heat = temperature(scores[:, compared], labels[compared])
        shares = cross_fitted(scores, labels, self.drawn)[:, compared]
        error = calibration_error(shares, labels[compared])
        ends = zip(("accuracy", "low", "high"), folds.interval(self.right(len(self.scores) - 1)), strict=True)
        said = {"ece": error, "temperature": heat, "repeats": len(scores), "control": route.keep is None}
        said |= {"each": route.minutes} if route.minutes else {}
        return {"route": route.name, **dict(ends), **said}

    def choose(self) -> None:
        """Train the best route so far on all labels and keep it; a resumed search first reads the kept one's scores."""
        if self.row(self.state["kept"] or "") and self.state["kept"] not in [route.name for route in self.routes]:
            return
        able = [place for place, route in enumerate(self.routes) if route.keep is not None]
        best = max(able, key=lambda at: self.right(at).mean())
        chosen = able[folds.choose([self.right(place) for place in able])]
        route, rows = self.routes[chosen], {row["route"]: row for row in self.state["rows"]}
        if route.name != self.state["kept"] and route.keep is not None:
            self.install(route.keep, rows[route.name]["temperature"])
        heat, names = rows[route.name]["temperature"], self.known.samples.names
        shares = (self.scores[chosen] / heat).softmax(2).mean(0).numpy()
        wrong = mislabelled(shares[self.compared], self.known.labels[self.compared])
        likeliest = [
            {
                "item": names[self.known.rows[i]], "told": self.known.classes[self.known.labels[i]],
                "likeliest": self.known.classes[shares[i].argmax()],
                "told share": float(shares[i, self.known.labels[i]]), "likeliest share": float(shares[i].max()),
            }
            for i in self.compared[wrong]
        ]  # fmt: skip
        why = reasons.compared(rows, route.name, self.routes[best].name, self.told, self.rare, self.given.chosen())
        self.state |= {"kept": route.name, "why": why, "mislabelled": likeliest}
        self.save()

    def install(self, make: Callable[[Path], Run], heat: float | None) -> None:
        """Train the kept route, calibrate its scores, and replace the previous run with it."""
        place = self.stages / "kept"
        shutil.rmtree(place, ignore_errors=True)
        run = make(place)
        if heat is not None:
            run.temper(heat)
        old = [entry for entry in self.folder.iterdir() if entry.name not in (FILE, STAGES, ".lock")]
        for entry in sorted(old, key=lambda entry: entry.name != "config.json"):  # its presence marks a run
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for entry in sorted(place.iterdir(), key=lambda entry: entry.name == "config.json"):
            entry.replace(self.folder / entry.name)
        place.rmdir()

    def finish(self, features: Tensor) -> None:
        """Suggest what to label next, draw the report and mark the search as finished."""
        labels = np.asarray(self.known.samples.labels)
        read = self.known.samples.readable()
        if free := int((labels[read] < 0).sum()):
            found = rank(features[read], min(NEXT, free), torch.from_numpy(labels[read]), seed=self.given.seed)
            rows = zip(read[found.items.numpy()].tolist(), found.why, strict=True)
            self.state["next"] = [{"item": self.known.samples.names[i], "why": why} for i, why in rows]
        run = Run(self.folder)
        classes = run.config["classes"]
        numbers = [classes.index(name) if name in classes else -1 for name in self.known.classes]
        own = np.where(labels < 0, -1, np.array(numbers)[labels])
        if self.left < 0:
            log.warning("took %s, more than the budget", duration(60 * (self.given.minutes - self.left)))
        run.draw_report(*[self.known.samples.with_labels(own, tuple(classes))] * len(run.cls.needs))
        self.state["finished"] = True
        self.save()
