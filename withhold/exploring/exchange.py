"""Import and export of labels: csv tables, Label Studio JSON, and folders by class."""

import csv
import io
import json
import os
import shutil
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path

from withhold.data import KINDS
from withhold.data.labels import places
from withhold.data.manifests import LABELS, find
from withhold.errors import UsageError


def from_text(text: str, kind: str, names: Sequence[str], subset: str = "") -> tuple[list[int], list[str], int]:
    """Read labels of the items with these names from a csv table or Label Studio JSON.

    A name matches in full, by its end, or as a unique file name; see `places`. The last label of an item counts.

    Returns:
        the items, their labels, and the number of rows without a matching item.

    Raises:
        UsageError: the text has neither format, or labels none of the items.
    """
    rows = _studio(text) if text.lstrip().startswith("[") else _table(text, kind)
    place, lost = places(names, subset), 0
    found: dict[int, str] = {}
    for name, label in rows:
        row = place(name)
        if row is None:
            lost += 1
        elif label:
            found[row] = label
    if not found:
        said = f" (such as {rows[0][0]!r})" if rows else ""
        raise UsageError(f"None of the {len(rows):,} rows{said} labels an item here. Use paths like {names[0]!r}.")
    return list(found), list(found.values()), lost


def _table(text: str, kind: str) -> list[tuple[str, str]]:
    """The rows of a csv table with a column of items and one of labels."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    columns = list(reader.fieldnames or [])
    label = find(LABELS, columns)
    item = find(("path", *KINDS[kind].columns), columns)
    if label is None or item is None:
        raise UsageError(
            "This is not a file of labels. Give a csv table that has the columns path and label, or Label Studio JSON."
        )
    rows = [((row[item] or "").strip(), (row[label] or "").strip()) for row in reader]
    # In the labels of another page, the last row of an item counts, and an empty label was removed.
    return list(dict(rows).items()) if find(("time",), columns) else rows


def _studio(text: str) -> list[tuple[str, str]]:
    """The item and the choice of each annotated task, from its last annotation that was not cancelled."""
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The file is not valid JSON ({error}).") from error
    rows = []
    for task in tasks:
        try:
            name = next(str(task["data"][field]) for field in ("path", *KINDS) if field in task["data"])
            chosen = [
                result["value"]["choices"][0]
                for one in task.get("annotations", ()) if not one.get("was_cancelled")
                for result in one["result"] if result.get("type") == "choices"
            ]  # fmt: skip
            if not all(isinstance(choice, str) for choice in chosen):
                raise TypeError("a choice is not a text")
        except (KeyError, IndexError, TypeError, AttributeError, StopIteration) as error:
            raise UsageError(
                "The file is not a JSON export of Label Studio, which is a list of tasks with data and annotations."
            ) from error
        if chosen:
            rows.append((name if "path" in task["data"] else _plain(name), chosen[-1]))
    return rows


def _plain(address: str) -> str:
    """The path in a Label Studio address, such as /data/local-files/?d=photos/1.jpg; other text is unchanged."""
    if not address.startswith("/data/") and "://" not in address:
        return address
    split = urllib.parse.urlsplit(address)
    local = urllib.parse.parse_qs(split.query).get("d")
    return local[0] if local else urllib.parse.unquote(split.path)


def to_studio(known: Sequence[tuple[str, str]], kind: str) -> str:
    """Labels as tasks for import into Label Studio, each with one annotation of the control "label"."""

    def task(name: str, label: str) -> dict:
        result = {"from_name": "label", "to_name": kind, "type": "choices", "value": {"choices": [label]}}
        address = {} if kind == "text" else {kind: f"/data/local-files/?d={urllib.parse.quote(name)}"}
        return {"data": {"path": name} | address, "annotations": [{"result": [result]}]}

    return json.dumps([task(*row) for row in known], indent=1, ensure_ascii=False)


def to_folders(known: Sequence[tuple[str, str]], root: Path, folder: Path) -> int:
    """Link every labelled file into `folder`/CLASS/, or copy it if links are not supported; returns their number.

    Args:
        known: paths below `root`, and labels.
        folder: a folder that does not exist yet.

    Raises:
        UsageError: the items are not files.
    """
    for name, _ in known:
        if not (root / name).is_file():
            raise UsageError(f"{name} is not a separate file in {root}. Export a csv table instead.")
    numbers: dict[Path, int] = defaultdict(lambda: 1)
    inside = _folders(dict.fromkeys(label for _, label in known))
    for name, label in known:
        source = root / name
        place = first = folder / inside[label] / source.name
        while os.path.lexists(place):
            numbers[first] += 1
            place = first.with_stem(f"{first.stem}-{numbers[first]}")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(os.path.relpath(source.resolve(), place.parent.resolve()))
        except OSError:
            shutil.copy2(source, place)
    return len(known)


def _folders(labels: Iterable[str]) -> dict[str, str]:
    """A safe folder name for each class; no two are equal, also where capitals do not count."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        safe = "".join("_" if letter in '/\\:*?"<>|' else letter for letter in label).strip(". ") or "_"
        name = next(name for name in chain([safe], (f"{safe}-{n}" for n in count(2))) if name.casefold() not in taken)
        taken.add(name.casefold())
        found[label] = name
    return found
