"""What a page asks of its session, ready for JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from withhold import labelling
from withhold.errors import UsageError
from withhold.exploring import exchange
from withhold.exploring.kept import free
from withhold.exploring.session import Session
from withhold.exploring.shown import BEGINNING
from withhold.exploring.training import trainable

SHOWN = 200
"""Items of a list, at most."""
BATCH, LISTED = 20, 40
"""Items that are asked for at a time, and those of a list of errors."""
LIKELY = 5


def state(session: Session) -> dict[str, Any]:
    """What the page has to know before it shows anything."""
    with session.lock:
        own = session.samples.labels
        return {
            "source": session.source, "run": str(session.run.name), "runs": session.kept.runs(), "kind": session.kind,
            "count": len(session.samples), "classes": session.journal.classes, "counts": session.journal.counts,
            "labels": str(session.journal.path), "words": session.items.kind.typed,
            "strategies": list(labelling.STRATEGIES), "methods": trainable(session.kind),
            "origin": [] if own is None or (own < 0).all() else list(session.samples.classes),
            "versions": session.versions,
            "curve": session.kept.curve, "route": session.route,
            "training": session.training and session.training.state(),
        }  # fmt: skip


def array(session: Session, name: str) -> np.ndarray | None:
    """What the map draws of every item, little endian; None where there is no such thing.

    "places" float32 [n, 2], "labels", "answers", "clusters" and "origin" int16 [n] (-1 where there is none), "sure"
    uint8 [n], of 255.
    """
    with session.lock:
        answers, adviser, count = session.answers, session.adviser, len(session.samples)
        own, labels, places = session.samples.labels, session.journal.labels, session.places
        nothing = np.full(count, -1)
        found = {
            "places": lambda: places.astype("<f4"),
            "labels": lambda: labels.astype("<i2"),
            "answers": lambda: (nothing if answers is None else answers.classes).astype("<i2"),
            "sure": lambda: (0 * nothing if answers is None else 255 * answers.sure).astype("u1"),
            "origin": lambda: (nothing if own is None else own).astype("<i2"),
        }  # fmt: skip
        if name in found:
            return found[name]()
    return adviser.clusters.astype("<i2") if name == "clusters" else None


def item(session: Session, number: int) -> dict[str, Any]:
    """One item in full: its name, its text, its label, the likeliest classes, and what is like it."""
    with session.lock:
        answers, classes, adviser = session.answers, list(session.journal.classes), session.adviser
        label = int(session.journal.labels[number])
    likely = []
    if answers is not None:
        values, best = answers.shares[number].topk(min(LIKELY, answers.shares.shape[1]))
        likely = [[classes[i], value] for i, value in zip(best.tolist(), values.tolist(), strict=True)]
    rows, distances = adviser.near(adviser.features[number], LISTED, number)
    return {
        "item": number, "name": named(session, number), "text": session.items.words(number),
        "label": classes[label] if label >= 0 else None, "likely": likely,
        "near": listed(session, rows, [f"{value:.3f}" for value in distances]),
    }  # fmt: skip


def listed(session: Session, numbers: Sequence[int], notes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Items for a grid, up to 200: of each its number, its name, the beginning of its text, and a note."""
    notes = notes or [""] * len(numbers)
    return [
        {"item": int(i), "name": named(session, i), "text": session.items.words(int(i), BEGINNING), "note": note}
        for i, note in list(zip(numbers, notes, strict=True))[:SHOWN]
    ]


def named(session: Session, number: int) -> str:
    """The name of an item, in which bytes that are no UTF-8 are escaped."""
    return session.samples.names[number].encode("utf-8", "backslashreplace").decode()


def search(session: Session, words: str) -> list[dict[str, Any]]:
    """The items nearest to words, where the encoder reads them; else those whose name has the words in it.

    Raises:
        UsageError: the encoder knows none of the words.
    """
    if session.items.kind.typed:
        vector = session.run.embed([words])["embedding"].combine_chunks().flatten().to_numpy()
        if not vector.any():
            raise UsageError("The run's vocabulary has none of these words: ask with others.")
        rows, distances = session.adviser.near(torch.tensor(vector).float(), SHOWN)
        return listed(session, rows, [f"{value:.3f}" for value in distances])
    wanted = words.lower()
    return listed(session, [i for i, name in enumerate(session.samples.names) if wanted in name.lower()][:SHOWN])


def queue(session: Session, strategy: str) -> list[dict[str, Any]]:
    """Which items to label next, the first one first, and why; `strategy` "" is what suits."""
    with session.lock:
        labels, passed, answers = session.journal.labels.copy(), list(session.passed), session.answers
        used = [number for number, count in enumerate(session.journal.counts) if count]
        if answers is not None and answers.shares.shape[1] <= max(used, default=0):
            answers = None  # a class is newer than they are
    shares = None if answers is None else answers.shares[:, used]
    return listed(session, *session.adviser.queue(BATCH, labels, passed, shares, strategy))


def folders(session: Session) -> dict[str, Any]:
    """Link the labelled files into a new folder by class. Raises: UsageError: there are none, or these are no files."""
    with session.lock:
        known = session.journal.known()
    if not known:
        raise UsageError("There is no label yet: label some items first.")
    place = free(session.folder / "by-class")
    return {"folder": str(place), "count": exchange.to_folders(known, Path(session.source), place)}


def errors(session: Session) -> dict[str, Any]:
    """What is still wrong: confusion of classes, likely mislabelled items, unsure ones, and those unlike all others."""
    with session.lock:
        labels, classes = session.journal.labels.copy(), list(session.journal.classes)
        answers, adviser = session.answers, session.adviser
    found = adviser.measure(labels, len(classes))
    confusion, suspects, unsure = [], [], []
    if found is not None:
        measured, _ = found
        answered = dict(zip(measured.rows.tolist(), measured.answers.tolist(), strict=True))
        for told, said in np.unique(np.stack([measured.labels, measured.answers], 1), axis=0).tolist():
            rows = measured.rows[(measured.labels == told) & (measured.answers == said)]
            confusion.append({"told": told, "said": said, "count": len(rows), "items": rows[:SHOWN].tolist()})
        doubted = measured.suspects[:LISTED].tolist()
        notes = [f"{classes[labels[i]]}, looks like {classes[answered[i]]}" for i in doubted]
        suspects = listed(session, doubted, notes)
    if answers is not None:
        free = np.flatnonzero(labels < 0)
        rows = free[np.argsort(answers.sure[free], kind="stable")][:LISTED].tolist()
        unsure = listed(session, rows, [f"{classes[answers.classes[i]]}? {answers.sure[i]:.0%}" for i in rows])
    far = np.argsort(-adviser.strange, kind="stable")[:LISTED].tolist()
    strange = listed(session, far, [f"{adviser.strange[i]:.3f}" for i in far])
    accuracy = [measured.accuracy, measured.low, measured.high, len(measured.rows)] if found is not None else None
    return {
        "classes": classes, "confusion": confusion, "suspects": suspects, "unsure": unsure, "strange": strange,
        "accuracy": accuracy,
    }  # fmt: skip
