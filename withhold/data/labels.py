"""Label values -> numbers and class names, for one dataset or several; and labels from separate files."""

import contextlib
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from withhold.data import manifests
from withhold.data.arranging import part_named
from withhold.data.images import Images
from withhold.data.samples import Samples
from withhold.errors import UsageError, WithholdError

log = logging.getLogger("withhold")

Labels = str | os.PathLike | Sequence[str | os.PathLike]
"""A file of labels, or several."""
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE)


def number(columns: Iterable[Sequence[Any]], names: tuple[str, ...] = ()) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Columns of label values -> int64 [n] for each, -1 where there is no label, and the names of the classes.

    Labels are texts, and every different text is a class. Classes are sorted, numerically if all of them are numbers.
    An empty cell, None, or "nan" among numbers is no label.

    Args:
        columns: one for each split of a source, so that a class has the same number in each.
        names: the class names if the values are already numbers, with negative ones for no label; else empty.
    """
    if names:
        rows = ([max(int(_text(value) or -1), -1) for value in column] for column in columns)
        numbers = [np.array(row, dtype=np.int64) for row in rows]
        most = max((part.max(initial=-1) for part in numbers), default=-1)
        if most >= len(names):
            raise WithholdError(f"A label is {most}, but only {len(names)} classes have names.")
        return numbers, names
    sets = []
    for texts in map(_texts, columns):
        places = {text: place for place, text in enumerate(sorted(set(texts) - {""}))}
        sets.append((np.array([places.get(text, -1) for text in texts], dtype=np.int64), tuple(places)))
    _, known = share_classes(sets)
    in_order = sorted(sorted(known), key=float) if all(map(NUMBER.fullmatch, known)) else sorted(known)
    (_, *shared), classes = share_classes([(None, tuple(in_order)), *sets])
    return shared, classes


def share_classes(sets: Sequence[tuple[np.ndarray | None, tuple[str, ...]]]) -> tuple[list[Any], tuple[str, ...]]:
    """Number the classes of several labelled datasets together: those of the first, then further ones of the others.

    Classes are matched by name. Names that are equal numbers, such as 1 and 1.0, are one class, because integers
    with missing values are often stored as floats, unless a dataset itself uses both spellings.

    Args:
        sets: labels int64 [n] (-1 where there is none; None if a dataset has none) and the names of their classes.

    Returns:
        the labels of each dataset in the common numbering, and the names of the classes.
    """
    written = (Counter(map(_value, set(classes))) for _, classes in sets)
    torn = {value for counts in written for value, count in counts.items() if count > 1}
    table: dict[str | Decimal, str] = {}  # the identity of a class, and its first name
    shared: list[Any] = []
    for labels, classes in sets:
        marks = [name if _value(name) in torn else _value(name) for name in classes]
        for mark, name in zip(marks, classes, strict=True):
            table.setdefault(mark, name)
        places = {mark: place for place, mark in enumerate(table)}
        numbers = np.array([*(places[mark] for mark in marks), -1], dtype=np.int64)  # index -1 finds the last
        shared.append(None if labels is None else numbers[labels])
    return shared, tuple(table.values())


def _value(name: str) -> str | Decimal:
    """Convert a name to a number if it is one."""
    with contextlib.suppress(InvalidOperation):  # an exponent out of bounds
        return Decimal(name) if NUMBER.fullmatch(name) else name
    return name


def _texts(column: Sequence[Any]) -> list[str]:
    texts = list(map(_text, column))
    others = {text.lower() for text in texts} - {"nan", ""}
    if others and all(map(NUMBER.fullmatch, others)):
        return ["" if text.lower() == "nan" else text for text in texts]
    return texts


def _text(value: Any) -> str:
    """Convert a label value to text; "" if there is none."""
    if isinstance(value, list | tuple | dict | bytes):
        raise WithholdError(f"The label {str(value)[:40]} is not a text or number. Use another column.")
    return "" if value is None or value != value else _composed(str(value).strip())


def label_files(labels: Labels | None) -> list[Path]:
    """Return the files of labels as a list. Raises: UsageError: they are not files."""
    given: Any = [] if labels is None else labels
    if isinstance(given, str | os.PathLike | Mapping) or not isinstance(given, Iterable):
        given = [given]
    paths = list(given)
    if not all(isinstance(path, str | os.PathLike) for path in paths):
        raise UsageError("Labels are read from files. Write a csv file with the columns path and label; give its name.")
    return list(map(Path, paths))


def attach(samples: Samples, labels: Labels | None) -> Samples:
    """Return the samples with the labels of one or several tables; -1 for samples that these leave out.

    Without a table, the samples stay as they are.

    Names match as in `places`, including file endings and capital letters. Empty labels are ignored. In a table with a
    column time, as `withhold explore` writes, the last row of an item counts.
    """
    paths = label_files(labels)
    if not paths:
        return samples
    listed, columns = zip(*map(_read, paths), strict=True)
    numbers, classes = number(columns)
    place_of = places(samples.names, samples.subset)
    given = np.full(len(samples), -1, dtype=np.int64)
    by: dict[int, Path] = {}
    for path, said, values in zip(paths, listed, numbers, strict=True):
        lost, found = [], set()
        for name, value in zip(said, values.tolist(), strict=True):
            place = place_of(name)
            if place is None:
                lost.append(name)
                continue
            found.add(place)
            if value >= 0 and given[place] not in (-1, value):
                who = f"{path} gives" if by[place] == path else f"{by[place]} and {path} give"
                first, second = (classes[other] for other in (given[place], value))
                raise UsageError(
                    f"{who} {samples.names[place]} two labels, {first!r} and {second!r} (as {name}). Keep one of them."
                )
            if value >= 0:
                given[place], by[place] = value, path
        if not found:
            heard = f"a name in it is {said[0]!r}, a name in the data is {samples.names[0]!r}"
            raise UsageError(f"No name in {path} matches an item of {samples.source}: {heard}.")
        count = f"{sum(given[place] >= 0 for place in found):,}"
        log.info("%s labels %s of %s items in %s", path, count, f"{len(samples):,}", samples.source)
        if lost:
            count = f"{len(lost):,}"
            log.warning("%s rows of %s match no item of %s, such as %s", count, path, samples.source, lost[0])
    last = {name: row for row, name in enumerate(samples.names)}  # a table of data may list a file several times
    given = given[[last[name] for name in samples.names]]
    (_, shared), table = share_classes([(None, samples.classes), (given, classes)])
    known = table == samples.classes  # the files have no classes that the data lack
    return samples.with_labels(*(shared, table) if known else (given, classes))


def places(names: Sequence[str], subset: str = "") -> Callable[[str], int | None]:
    """Return a function that finds the index in `names` of a name in a table; None if there are none or several.

    A name matches in full, by its end ("photos/cat/1.jpg" is cat/1.jpg), or as a file name that occurs once.

    Args:
        subset: the part of the dataset that the items are, if it has parts: "test/1.jpg" is not 1.jpg of "train".
    """
    # Tables hold names that are not valid UTF-8 with escapes.
    plain = [name.encode("utf-8", "backslashreplace").decode().replace("\\", "/") for name in names]
    # Other systems may compose accented letters differently.
    rows = {_composed(name): row for row, name in enumerate(plain)} | {name: row for row, name in enumerate(plain)}
    tails = [_composed(name).split("/")[-1] for name in plain]
    counts = Counter(tails)
    alone = {tail: row for row, tail in enumerate(tails) if counts[tail] == 1}

    def place(name: str) -> int | None:
        folders = name.replace("\\", "/").split("/")
        for start in range(len(folders)):
            end = "/".join(folders[start:])
            if (row := rows.get(end, rows.get(_composed(end)))) is not None:
                above = next(filter(None, map(part_named, reversed(folders[:start]))), "")
                return None if subset and above not in ("", subset) else row
        return alone.get(_composed(name))

    return place


def _composed(text: str) -> str:
    """A text with accented letters as single characters (normal form C)."""
    return unicodedata.normalize("NFC", text)


def _read(path: Path) -> tuple[list[str], list[Any]]:
    """Read the names in a table and their labels."""
    if not path.is_file():
        way_out = "Give a csv or jsonl file with the columns path and label."
        raise UsageError(f"There is no file of labels {str(path)!r}. {way_out}")
    columns = manifests.read(path)
    if not any(columns.values()):
        raise UsageError(f"{path} is empty. Add the columns path and label, and a line for each item.")
    label = manifests.find(manifests.LABELS, columns)
    item = manifests.find(Images.columns, columns)
    if item is None:
        raise UsageError(
            f"{path} has no column path (it has {', '.join(columns)}). Give it the columns path and label; the path of "
            "a text in a table is its row, from 0."
        )
    names = [str(name or "").strip().replace("\\", "/") for name in columns[item]]
    if label is None:
        raise UsageError(f"{path} has no column of labels. Name it label, class or target.")
    if manifests.find(("time",), columns):  # a log of labelling: the last row of an item counts
        last = dict(zip(names, columns[label], strict=True))
        return list(last), list(last.values())
    return names, columns[label]
