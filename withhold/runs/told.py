"""The items whose labels, masks or boxes a training was given: they are left out of evaluations."""

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from withhold.console import counted
from withhold.data import Samples
from withhold.errors import UsageError, WithholdError
from withhold.files import write_csv
from withhold.needs import Need

log = logging.getLogger("withhold")

COLUMNS = ("stream", "item", "digest")
BEFORE = "(an earlier training)"
"""The value of "stream" for items whose label an earlier training was given, from whose encoder this one started."""

Told = Sequence[dict[str, Any]]
"""For each item its stream, its name, and a digest of its content, which identifies it independently of the name."""


def find_told(
    needs: Mapping[str, Need], streams: Mapping[str, Samples], kind: str, earlier: Told = ()
) -> list[dict[str, Any]]:
    """Find the items whose labels, masks or boxes a method is given, and those of the run that it starts from.

    Args:
        kind: the encoder's kind of data, of which the digests are computed.
        earlier: what `read_told` returns for the run that it starts from.
    """
    found = [row | {"stream": BEFORE} for row in earlier]
    for stream, samples in streams.items():
        if needs[stream].teaches:
            taught = samples.serving(needs[stream], f"the stream {stream}")
            rows = zip(taught.names, taught.of(kind).digests(), strict=True)
            found += [dict(zip(COLUMNS, (stream, *row), strict=True)) for row in rows]
    return found


def write_told(folder: Path, rows: Told) -> None:
    """Write told.csv, if there are any rows."""
    if rows:
        write_csv(folder / "told.csv", COLUMNS, ([row[column] for column in COLUMNS] for row in rows))


def read_told(folder: Path) -> list[dict[str, Any]]:
    """Read what `write_told` wrote to the folder."""
    path = folder / "told.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        if {"stream", "digest"} - set(reader.fieldnames or ()):
            raise WithholdError(f"{path} is damaged (it has no columns stream and digest). Train this run again.")
        return list(reader)


def are_told(told: Told, kind: str, samples: Samples) -> np.ndarray:
    """Whether each of `samples` is one of the items in `told`, bool [n], compared by content.

    Args:
        kind: the encoder's kind of data.
    """
    digests = [row["digest"] for row in told]
    return np.isin(samples.of(kind).digests(), digests) if digests else np.zeros(len(samples), dtype=bool)


def given_labels(told: Told, kind: str, taught: Samples) -> Samples:
    """Return those of the labelled items of a training whose labels a user gave, and not label propagation."""
    own = [row for row in told if row["stream"] != BEFORE]
    if not 0 < len(own) < np.count_nonzero(np.asarray(taught.labels) >= 0):  # all were given, or it is not known
        return taught
    return taught.select(np.flatnonzero(are_told(own, kind, taught)))


def without_told(told: Told, kind: str, test: Samples) -> Samples:
    """Return `test` without the items in `told`, see `are_told`.

    Raises:
        UsageError: no other item has a label.
    """
    what = next((sort for part, sort in (("mask", "masks"), ("boxes", "boxes")) if part in test.parts), "labels")
    taught = bool(test.targets) or what != "labels"
    if not told or (test.labels is None and not taught):
        return test
    others = np.flatnonzero(~are_told(told, kind, test))
    has = np.ones(len(test), dtype=bool) if taught else np.asarray(test.labels) >= 0
    known, left = int(has.sum()), int(has[others].sum())
    if left < known:
        log.info("%s left out of the test set: the training was given their %s", counted(known - left, "item"), what)
    if known and not left:
        raise UsageError(
            f"The training was given the {what} of all test items of {test.source}. Give {what} of other items, in a "
            f"second source, {'in a file (--labels), ' if what == 'labels' else ''}or in a part of the data called "
            "test (such as a folder)."
        )
    return test.select(others)
