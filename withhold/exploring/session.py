"""The state of a page: items, labels, map, predictions, and a training."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from withhold.console import counted
from withhold.data import Labels, Samples
from withhold.errors import UsageError, WithholdError
from withhold.exploring import atlas, exchange, training
from withhold.exploring.adviser import EVERY, ROUTES, Adviser, Answers, Measured
from withhold.exploring.journal import Journal
from withhold.exploring.kept import LABELS, Kept, free
from withhold.exploring.shown import Shown
from withhold.exploring.training import Training
from withhold.files import writing
from withhold.runs import Embedder, Run, load
from withhold.runs.saying import written_alike
from withhold.runs.told import BEFORE, are_told

log = logging.getLogger("withhold")

SNAPSHOT = "told.csv"
DAY, PATIENCE = 24 * 60, 10  # minutes; seconds to wait for a thread to end
HEARD = 10_000  # events queued for a page at most


class Session:
    """The state of a page, saved in `folder`.

    Args:
        folder: the folder, used by this process only.
        name: the run, exported encoder or encoder's name to start with.
        source: the data.
        decoding: decoding options for an encoder given by name, such as size=224.
        labels: one or several files with labels to import at the start.
        seed: random seed.

    Raises:
        UsageError: there are no such items, or the encoder does not take them.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        source: str,
        decoding: dict[str, Any],
        labels: Labels | None = None,
        seed: int = 0,
    ):
        self.folder, self.source, self.seed, self.decoding = folder, source, seed, decoding
        self.kept = Kept(folder)
        shown = self.kept.shown(name)
        self.run = load(shown, **(decoding if shown == name else {}))
        self.samples = self.run.load_data(source).decodable()
        if twice := len(self.samples) - len(set(self.samples.names)):
            log.warning("%s with the name of another one; they share their label", counted(twice, "item"))
        self.items = Shown(source, self.samples)
        self.journal = Journal(folder / LABELS, self.samples.names)
        self.adviser = self._advised(self.run, self.samples)
        self.kept.begin(name)
        places = self.kept.places(self.samples.names, self.adviser.parts)
        self.places = atlas.plane(self.adviser.parts) if places is None else places
        self.lock = threading.RLock()  # guards the attributes below, and the journal
        self.answers: Answers | None = None
        self.measured: Measured | None = None
        self.route = ROUTES[0]
        self.versions = {"answers": 0, "map": 0}
        self.passed: list[int] = []
        self.training: Training | None = None
        self._listeners: list[deque[dict[str, Any]]] = []
        self.closing, self._work = False, threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._follow, self._draw)]
        self._take_over(labels)

    @property
    def kind(self) -> str:
        """Kind of the items, or of their first part: "image", "video", "audio" or "text"."""
        return self.samples.kind.split(" + ")[0]

    def begin(self) -> None:
        """Start the threads that follow labels and draw the map."""
        for thread in self._threads:
            thread.start()
        self._work.set()

    def close(self) -> None:
        """Stop the threads and the training. A process that ends while a thread runs compiled code may be aborted."""
        self.closing = True
        self._work.set()
        if self.training is not None:
            self.training.end()
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(PATIENCE)

    def listen(self) -> deque[dict[str, Any]]:
        """A queue that receives all events from now on, until `leave`."""
        heard: deque[dict[str, Any]] = deque(maxlen=HEARD)
        self._listeners.append(heard)
        return heard

    def leave(self, heard: deque[dict[str, Any]]) -> None:
        self._listeners = [other for other in self._listeners if other is not heard]

    def tell(self, **event: Any) -> None:
        """Send an event to all pages."""
        for heard in self._listeners:
            heard.append(event)

    def label(self, items: Sequence[int], labels: Sequence[str]) -> list[str] | None:
        """Save labels and tell all pages; returns a new class and an existing one with almost the same name, if any.

        Raises:
            UsageError: as `Journal.write`.
        """
        with self.lock:
            before = set(self.journal.classes)
            rows = self.journal.write(items, labels)
            new = set(self.journal.classes) - before
            there = [name for name, count in zip(self.journal.classes, self.journal.counts, strict=True) if count]
            changed = [[row, int(self.journal.labels[row])] for row in rows]
            self.tell(labels=changed, classes=self.journal.classes, counts=self.journal.counts)
        self._work.set()
        return next((alike for alike in written_alike(there if new else []) if new & set(alike)), None)

    def skip(self, number: int) -> None:
        """Leave an item out of the queue until the server is restarted."""
        with self.lock:
            self.passed.append(number)

    def take(self, text: str) -> dict[str, int]:
        """Import labels from a table or Label Studio JSON. Raises: UsageError: as `exchange.from_text`."""
        items, labels, lost = exchange.from_text(text, self.kind, self.samples.names, self.samples.subset)
        self.label(items, labels)
        return {"labelled": len(items), "lost": lost}

    def train(self, what: str, minutes: float) -> None:
        """Start a training in another process.

        Raises:
            UsageError: one is running, the method is unknown, or there are too few labels.
        """
        with self.lock:
            if self.training is not None and self.training.running:
                raise UsageError("A training is running. Wait until it has finished, or stop it.")
            if what not in (able := training.trainable(self.kind)):
                raise UsageError(f"{what!r} cannot be trained here. Choose one of {', '.join(able)}.")
            if not 0 < minutes <= DAY:
                raise UsageError(f"The minutes must be more than 0 and at most {DAY:,}.")
            if sum(count > 0 for count in self.journal.counts) < 2:
                raise UsageError("Training needs labels of two classes or more. Label items of another class first.")
            told = self.folder / SNAPSHOT
            with writing(told) as partial:
                partial.write_text(self.journal.export(), encoding="utf-8", errors="backslashreplace")
            first = self.kept.about["asked"]  # `learn` cannot measure on labels that an encoder was trained with
            start = load(first, **self.decoding) if what == "learn" and first != str(self.run.name) else self.run
            wanted = training.arguments(what, start, self.source, told, minutes)
            self.training = Training(free(self.folder / "runs" / what), wanted, minutes)
            watching = threading.Thread(target=self._watch, args=(self.training,), daemon=True)
            self._threads.append(watching)
        watching.start()

    def stop(self) -> None:
        """Ask the training to stop."""
        if self.training is not None:
            self.training.stop()

    def show(self, name: str) -> None:
        """Show another encoder: one that was trained here, or the one that the user gave.

        Raises:
            UsageError: there is no such encoder, or a training is running, whose encoder will be shown.
        """
        if name not in self.kept.runs():
            raise UsageError(f"This page has no run {name!r}. Choose one of {', '.join(self.kept.runs())}.")
        if self.training is not None and self.training.running:
            raise UsageError("A training is running. Its run is shown when it finishes; wait, or stop it.")
        self._adopt(name)
        self.tell(run=str(self.run.name))

    def _follow(self) -> None:
        """Update predictions after every label, and sometimes the accuracy."""
        last: tuple[bytes, Adviser] | None = None
        while True:
            self._work.wait()
            self._work.clear()
            if self.closing:
                return
            with self.lock:
                labels, classes, adviser = self.journal.labels.copy(), len(self.journal.classes), self.adviser
            if last == (labels.tobytes(), adviser):
                continue
            last = labels.tobytes(), adviser
            try:
                self._answer(adviser, labels, classes, ROUTES[0])
                if self.route != ROUTES[0] and not self._work.is_set():
                    self._answer(adviser, labels, classes, self.route)
                if not self._work.is_set():
                    self._measure(adviser, labels, classes)
            except Exception:
                log.exception("the page's classifier failed; labels are saved, and it tries again at the next label")

    def _answer(self, adviser: Adviser, labels: np.ndarray, classes: int, route: str) -> None:
        found = adviser.answer(labels, classes, route)
        with self.lock:
            if adviser is self.adviser:
                self.answers = found
                self._changed("answers")

    def _measure(self, adviser: Adviser, labels: np.ndarray, classes: int) -> None:
        """Cross-validate if twenty labels were added or removed since the last time."""
        count = int((labels >= 0).sum())
        if self.measured is not None and count // EVERY == self.measured.count // EVERY:
            return
        found = adviser.measure(labels, classes)
        if found is None or adviser is not self.adviser:
            return
        with self.lock:
            self.measured, self.route = found
            point = {"labels": count, "run": str(self.run.name), "route": self.route}
            self.kept.add(point | {name: getattr(found[0], name) for name in ("accuracy", "low", "high")})
            self.tell(curve=self.kept.curve)
        if self.route != ROUTES[0]:
            self._answer(adviser, labels, classes, self.route)

    def _draw(self) -> None:
        """Compute the t-SNE map, starting from the current positions."""
        with self.lock:
            adviser, start = self.adviser, self.places
        if self.kept.drawn:
            return
        try:
            found = atlas.embed(adviser.parts, start, self.seed, lambda: self.closing)
        except Exception:
            log.exception("the map could not be updated; the old map stays")
            return
        with self.lock:
            if found is not None and adviser is self.adviser and not self.closing:
                self.places = found
                self.kept.keep_places(self.samples.names, found)
                self._changed("map")

    def _watch(self, one: Training) -> None:
        """Report the progress of a training, and show its encoder when it has succeeded."""
        while one.running:
            self.tell(training=one.state())
            time.sleep(1)
        if self.closing:
            return
        state = one.state()
        if one.succeeded:
            self.tell(training=state | {"adopting": True})
            try:
                self._adopt(str(one.out))
            except WithholdError as error:
                state["said"] = str(error)
        self.tell(training=state, run=str(self.run.name), runs=self.kept.runs())

    def _adopt(self, name: str) -> None:
        """Switch to another encoder, with the same items."""
        run = load(name, **(self.decoding if name == self.kept.about["asked"] else {}))
        samples = run.load_data(self.source).decodable()
        rows: dict[str, list[int]] = {}  # items may share a name
        for row, name in reversed([*enumerate(samples.names)]):
            rows.setdefault(name, []).append(row)
        chosen = [rows[name].pop() if rows.get(name) else -1 for name in self.samples.names]
        if -1 in chosen:
            gone = self.samples.names[chosen.index(-1)]
            raise UsageError(f"{gone} is no longer in {self.source}. Start the page again.")
        if chosen != [*range(len(samples))]:
            samples = samples.select(chosen)
        adviser = self._advised(run, samples)
        with self.lock:
            self.run, self.adviser, self.answers, self.measured = run, adviser, None, None
        self._work.set()
        self._draw()

    def _advised(self, run: Embedder, samples: Samples) -> Adviser:
        """The classifier on the features of a run's encoder."""
        rows = run.told_items()
        if isinstance(run, Run) and run.frozen:  # its own labels have only changed the head
            rows = [row for row in rows if row["stream"] == BEFORE]
        told = are_told(rows, run.encoder.kind, samples)
        return Adviser(self.kept.features(run, samples), told, self.seed, lambda rows: samples.select(rows).digests())

    def _changed(self, what: str) -> None:
        self.versions[what] += 1
        self.tell(versions=self.versions)

    def _take_over(self, labels: Labels | None) -> None:
        """Import labels from files, or partial labels of the source, for items without a label here."""
        given = self.samples
        if labels is not None:
            rows = {name: row for row, name in enumerate(self.samples.names)}
            named = self.run.load_data(self.source, labels=labels)
            given = named.select([row for row, name in enumerate(named.names) if name in rows])
        own = given.labels
        if own is None or (labels is None and (own >= 0).all()):
            return
        known = {name: given.classes[i] for name, i in zip(given.names, own, strict=True) if i >= 0}
        here = dict(self.journal.known())
        open_rows = {name: row for row, name in enumerate(self.samples.names) if name not in self.journal.decided}
        new = [(open_rows[name], label) for name, label in known.items() if name in open_rows]
        if new:
            self.journal.write(*zip(*new, strict=True))
        if other := sum(here.get(name, label) != label for name, label in known.items()):
            log.warning(
                "%s to import differ from the labels given on the page, which are kept", counted(other, "label")
            )
