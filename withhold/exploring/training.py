"""A training in a separate process, so that the page survives if it fails or is stopped."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from withhold import methods as registry
from withhold.errors import WithholdError
from withhold.report.routes import FILE
from withhold.runs import Embedder
from withhold.runs.loading import Named
from withhold.training.journal import read as read_journal

LOG = "training.log"
POINTS = 200
"""Largest number of points in a curve."""
GRACE = 60
"""Seconds that a training gets to shut down before it is killed."""


class Training:
    """A training by `withhold learn` or `withhold train` in a separate process.

    Args:
        out: the run folder, which must not exist.
        arguments: arguments of `withhold`, without --out.
        minutes: time budget.
    """

    def __init__(self, out: Path, arguments: list[str], minutes: float):
        self.out, self.minutes, self.began = out, minutes, time.monotonic()
        self.name = arguments[1] if arguments[0] == "train" else arguments[0]
        out.parent.mkdir(parents=True, exist_ok=True)
        self._log = out.parent / LOG
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "withhold", *arguments, "--out", str(out)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._stopped: float | None = None
        self._ended: float | None = None

    @property
    def running(self) -> bool:
        if self._stopped is not None and time.monotonic() - self._stopped > GRACE:
            self._process.kill()
        if self._process.poll() is None:
            return True
        self._ended = self._ended or time.monotonic()
        return False

    @property
    def succeeded(self) -> bool:
        return self._process.poll() == 0

    def stop(self) -> None:
        """Ask it to shut down. SIGTERM, since SIGINT does nothing if the page was started in the background."""
        if self.running:
            self._stopped = time.monotonic()
            os.killpg(self._process.pid, signal.SIGTERM)

    def end(self) -> None:
        """Stop it, and wait until it has ended."""
        self.stop()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def state(self) -> dict[str, Any]:
        """Its progress, ready for JSON: seconds, completed share, loss curve, routes and last message."""
        running = self.running
        seconds = (self._ended or time.monotonic()) - self.began
        share = min(seconds / (60 * self.minutes), 1.0 if not running else 0.99)
        found = {
            "name": self.name, "running": running, "stopped": self._stopped is not None,
            "failed": not running and self._stopped is None and not self.succeeded,
            "seconds": seconds, "share": share, "left": max(0.0, 60 * self.minutes - seconds),
        }  # fmt: skip
        return found | {"curve": self._curve(), "routes": self._routes(), "said": self._said()}

    def _curve(self) -> list[list[float]]:
        """The loss by step of the current training, or of the last one."""
        try:
            journals = [*self.out.rglob("metrics.csv")]
            rows = read_journal(max(journals, key=lambda path: path.stat().st_mtime)) if journals else []
        except (OSError, WithholdError):  # `learn` deletes its runs of single folds, and rows are being written
            return []
        points = [[row["step"], row["loss"]] for row in rows if math.isfinite(row.get("loss", math.nan))]
        return points[:: len(points) // POINTS + 1]

    def _routes(self) -> list[dict[str, Any]]:
        """The routes that `learn` has measured so far."""
        try:
            return json.loads((self.out / FILE).read_text(encoding="utf-8"))["rows"]
        except (OSError, ValueError):
            return []

    def _said(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def trainable(kind: str) -> list[str]:
    """What can be trained on items of a kind: `learn`, and the methods that train classifiers with few labels."""
    found = []
    for name in registry.names():
        first, *others = registry.find(name).needs.values()
        few = name == "finetune" or registry.card(registry.find(name))["folder"] == "semisupervised"
        able = first.parts == ("label",) and kind in first.kinds and not any(need.labelled for need in others)
        found += [name] * (few and able)
    return ["learn", *found]


def arguments(what: str, run: Embedder, data: str, labels: Path, minutes: float) -> list[str]:
    """The arguments of `withhold` for a training that starts from the page's encoder.

    Args:
        what: "learn", or a method that trains on labels.
        labels: a file with labels.
    """
    verb = ["learn"] if what == "learn" else ["train", what]
    start = ["--encoder", str(run.name)]
    if isinstance(run, Named):
        start += ["--pretrained"] if run.row == "pretrained" else []
        start += ["--size", str(run.config["decoding"]["size"])] if "size" in run.config["decoding"] else []
    return [*verb, data, "--labels", str(labels), "--minutes", str(minutes), *start]
