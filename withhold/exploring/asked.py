"""Queries of the page to its session, with results ready for JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from withhold import labelling
from withhold.errors import UsageError
from withhold.exploring import exchange
from withhold.exploring.journal import escaped
from withhold.exploring.kept import free
from withhold.exploring.session import Session
from withhold.exploring.shown import BEGINNING
from withhold.exploring.training import trainable

SHOWN = 200
"""Largest number of items in a list."""
BATCH, LISTED = 20, 40
"""Items to label per request, and items in a list of errors."""
LIKELY = 5


def state(session: Session) -> dict[str, Any]:
    """The initial state of the page."""
    with session.lock:
        own = session.samples.labels
        return {
            "run": str(session.run.name), "runs": session.kept.runs(), "kind": session.kind,
            "count": len(session.samples), "classes": session.journal.classes, "counts": session.journal.counts,
            "labels": str(session.journal.path), "words": session.items.kind.typed,
            "strategies": list(labelling.STRATEGIES), "methods": trainable(session.kind),
            "origin": [] if own is None or (own < 0).all() else list(session.samples.classes),
            "versions": session.versions,
            "curve": session.kept.curve, "training": session.training and session.training.state(),
        }  # fmt: skip


def array(session: Session, name: str) -> np.ndarray | None:
    """An array of the map, by name, little endian; None for an unknown name.

    "places" float32 [n, 2]; "labels", "answers" (predictions), "clusters" and "origin" int16 [n], -1 for none; "sure"
    (confidence) uint8 [n], from 0 to 255.
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
    """The details of an item: its name, text, label, most probable classes and nearest neighbours."""
    with session.lock:
        answers, classes, adviser = session.answers, list(session.journal.classes), session.adviser
        label = int(session.journal.labels[number])
    likely = []
    if answers is not None:
        values, best = answers.shares[number].topk(min(LIKELY, answers.shares.shape[1]))
        likely = [[classes[i], value] for i, value in zip(best.tolist(), values.tolist(), strict=True)]
    rows, distances = adviser.near(adviser.features[number], LISTED, number)
    return {
        "item": number, "name": escaped(session.samples.names[number]), "text": session.items.words(number),
        "label": classes[label] if label >= 0 else None, "likely": likely,
        "near": listed(session, rows, [f"{value:.3f}" for value in distances]),
    }  # fmt: skip


def listed(session: Session, numbers: Sequence[int], notes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Up to 200 items for a grid, each with its number, name, the beginning of its text, and a note."""
    notes = notes or [""] * len(numbers)
    return [
        {
            "item": int(i), "name": escaped(session.samples.names[i]), "text": session.items.words(int(i), BEGINNING),
            "note": note,
        }
        for i, note in list(zip(numbers, notes, strict=True))[:SHOWN]
    ]  # fmt: skip


def search(session: Session, words: str) -> list[dict[str, Any]]:
    """The items nearest to the words, for a text encoder; otherwise the items whose names contain them.

    Raises:
        UsageError: none of the words is in the encoder's vocabulary.
    """
    if session.items.kind.typed:
        vector = session.run.embed([words])["embedding"].combine_chunks().flatten().to_numpy()
        if not vector.any():
            raise UsageError("None of these words is in the vocabulary of the run. Try other words.")
        rows, distances = session.adviser.near(torch.tensor(vector).float(), SHOWN)
        return listed(session, rows, [f"{value:.3f}" for value in distances])
    wanted = words.lower()
    return listed(session, [i for i, name in enumerate(session.samples.names) if wanted in name.lower()][:SHOWN])


def queue(session: Session, strategy: str) -> list[dict[str, Any]]:
    """The items to label next, in order, with reasons; `strategy` "" is the default."""
    with session.lock:
        labels, passed, answers = session.journal.labels.copy(), list(session.passed), session.answers
        used = [number for number, count in enumerate(session.journal.counts) if count]
        if answers is not None and (len(used) < 2 or answers.shares.shape[1] <= max(used)):
            answers = None  # classes were added or removed since
    shares = None if answers is None else answers.shares[:, used]
    return listed(session, *session.adviser.queue(BATCH, labels, passed, shares, strategy))


def folders(session: Session) -> dict[str, Any]:
    """Link the labelled files into a new folder, by class. Raises: UsageError: there are no labels, or no files."""
    with session.lock:
        known = session.journal.known()
    if not known:
        raise UsageError("There are no labels yet. Label some items first.")
    place = free(session.folder / "by-class")
    return {"folder": str(place), "count": exchange.to_folders(known, Path(session.source), place)}


def errors(session: Session) -> dict[str, Any]:
    """Errors: the confusion matrix, probably mislabelled items, the least confident predictions, and outliers."""
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
        notes = [f"labelled {classes[labels[i]]}, predicted {classes[answered[i]]}" for i in doubted]
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
