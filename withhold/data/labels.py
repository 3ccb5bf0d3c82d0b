"""Label values of any kind -> numbers and the classes' names; and labels from a file of their own."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from withhold.data.samples import Samples
from withhold.data.sources import read_manifest
from withhold.errors import UsageError, WithholdError

log = logging.getLogger("withhold")


def number(
    values: Sequence[Any], everywhere: Iterable[Sequence[Any]], names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label values -> int64 [n] (-1 where unlabelled) and the classes' names.

    Whole numbers below 10,000 keep their value; other values are numbered in sorted order.

    Args:
        everywhere: the values of all splits, so that a class has the same number in each.
        names: the classes' names where the values are numbers already, else empty.
    """
    texts = [_text(value) for value in values]
    if names:
        found = np.array([int(text or -1) for text in texts], dtype=np.int64)
        if found.max(initial=-1) >= len(names):
            raise WithholdError(f"A label is {found.max()}, but only {len(names)} classes have names.")
        return found, names
    known = {_text(value) for part in everywhere for value in part} - {""}
    if all(text.isdecimal() and int(text) < 10_000 for text in known):
        classes = tuple(map(str, range(max(map(int, known), default=-1) + 1)))
        return np.array([int(text or -1) for text in texts], dtype=np.int64), classes
    numbers = {text: row for row, text in enumerate(sorted(known))}
    return np.array([numbers.get(text, -1) for text in texts], dtype=np.int64), tuple(numbers)


def _text(value: Any) -> str:
    """A label value as text; "" where it stands for unlabelled: None, not a number, "" and -1."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return "" if text == "-1" else text


def attach(samples: Samples, path: Path) -> Samples:
    """The samples with the labels that a csv or jsonl file gives to their names; -1 for those that it leaves out.

    A name matches in full, by its end ("photos/cat/1.jpg" is cat/1.jpg), or as a file name that occurs once.
    """
    if not path.is_file():
        raise UsageError(
            f"There is no file of labels {str(path)!r}: give a csv or jsonl file with the columns path and label."
        )
    listed, values = read_manifest(path)
    if values is None:
        raise UsageError(f"{path} has no column of labels: call it label, class or target.")
    rows = {name: row for row, name in enumerate(samples.names)}
    tails = Counter(name.split("/")[-1] for name in rows)
    alone = {tail: row for name, row in rows.items() if tails[tail := name.split("/")[-1]] == 1}
    given: list[Any] = [None] * len(samples)
    lost, found = [], set()
    for name, value in zip(listed, values, strict=True):
        parts = name.split("/")
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        place = next((rows[end] for end in ends if end in rows), alone.get(name))
        if place is None:
            lost.append(name)
        elif place in found and _text(given[place]) != _text(value):
            other = f"{_text(given[place])!r} and {_text(value)!r}"
            raise UsageError(f"{path} gives {samples.names[place]} two labels, {other} (as {name}): keep one.")
        else:
            given[place] = value
            found.add(place)
    if not found:
        raise UsageError(
            f"{path} labels nothing in {samples.source}: it says {listed[0]!r}, the data say {samples.names[0]!r}."
        )
    log.info("%s labels %s of %s items in %s", path, f"{len(found):,}", f"{len(samples):,}", samples.source)
    if lost:
        log.warning("%s of its rows match nothing there, such as %s", f"{len(lost):,}", lost[0])
    known = {str(value) for value in values} - {"", "-1", "None"}
    if known <= set(samples.classes):
        number_of = {name: row for row, name in enumerate(samples.classes)}
        labels, classes = np.array([number_of.get(str(value), -1) for value in given], dtype=np.int64), samples.classes
    else:
        labels, classes = number(given, [values], ())
    return samples.with_labels(labels, classes)
