"""Reading of tables as columns of values: csv, tsv, jsonl and json, gzipped or not, and parquet."""

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from withhold.data.annotations import Misfit, coco
from withhold.errors import WithholdError

ENDINGS = tuple(f".{name}{packed}" for name in ("csv", "tsv", "jsonl", "json") for packed in ("", ".gz"))
LABELS = ("label", "labels", "class", "target", "fine_label")
"""Possible names of the column of labels, in order of preference."""
SEPARATORS = ",;\t|"
MOST_BYTES = 2**31
"""The most bytes of an unpacked text, so that a small file cannot fill the memory."""
GZIP = b"\x1f\x8b"

csv.field_size_limit(2**31 - 1)  # a cell may hold a whole document


def read(path: Path) -> dict[str, list[Any]]:
    """Read the columns of a table by name: texts of csv files; values of json and parquet, None for missing ones.

    COCO files are tables of images with boxes, see `annotations.coco`. The separator of a csv file is the one that
    gives its heading the most cells. Raises: WithholdError: the file is damaged, or a row has more or fewer cells than
    the heading; the message names the line.
    """
    form = path.name.lower().removesuffix(".gz").rsplit(".")[-1]
    try:
        if form == "parquet":
            from pyarrow import parquet

            return parquet.read_table(path).to_pydict()
        text = text_of(path.read_bytes())
        return _objects(text) if form in ("json", "jsonl") else _cells(text)
    except Misfit as error:
        raise WithholdError(f"{path} is inconsistent: {error}.") from error
    except (OSError, EOFError, ValueError, RecursionError, NotImplementedError, zlib.error) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise WithholdError(f"{path} cannot be read as {form}: {reason}.") from error


def find(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first of the wanted names (in lower case) among `names`, ignoring case and surrounding spaces."""
    there = {_fold(name): name for name in reversed(list(names))}
    return next((there[name] for name in wanted if name in there), None)


def text_of(content: bytes) -> str:
    """Decode the text of a file, gzipped or not, UTF-8 or UTF-16. Raises: OSError, EOFError, zlib.error, ValueError."""
    if content.startswith(GZIP):
        with gzip.open(io.BytesIO(content)) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 30} GB when unpacked; split it into parts")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text; save it as UTF-8") from error


def _cells(text: str) -> dict[str, list[Any]]:
    lines = io.StringIO(text, newline="")
    heading = next(filter(str.strip, lines), "")
    separator = max(SEPARATORS, key=lambda mark: len(next(csv.reader([heading], delimiter=mark), [])))
    lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    try:
        for cells in filter(None, reader):
            if not names:
                names = [cell.strip() for cell in cells]
            elif len(cells) != len(names):
                raise ValueError(f"line {reader.line_num} has {len(cells)} cells, but the heading has {len(names)}")
            else:
                rows.append(cells)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    named = [_fold(name) for name in names if name]
    if len(named) > len({*named}):
        raise ValueError(f"two of its columns have the same name ({', '.join(names)})")
    return {name: [cells[place] for cells in rows] for place, name in enumerate(names)}


def _objects(text: str) -> dict[str, list[Any]]:
    """Read json: a list of objects, one object per line, or a COCO file."""
    rows: list[Any] = []
    if text.lstrip().startswith("["):
        rows = json.loads(text)
    elif all(f'"{key}"' in text for key in ("images", "annotations", "categories")):
        return coco(json.loads(text))
    else:
        for number, line in enumerate(text.split("\n"), 1):
            try:
                rows += [json.loads(line)] if line.strip() else []
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error.msg}; give one object per line, or one list") from error
    names: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f'row {number} is not an object, such as {{"path": "1.png", "label": "cat"}}')
        for name in row:
            names.setdefault(_fold(name), name.strip())
    rows = [{_fold(name): value for name, value in row.items()} for row in rows]
    return {name: [row.get(folded) for row in rows] for folded, name in names.items()}


def _fold(name: str) -> str:
    return name.strip().lower()
