"""Formats of boxes: VOC's XML, YOLO's text, COCO's JSON, or a list in a table's cell."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from withhold.needs import CROWD, DIFFICULT

ENDINGS = (".xml", ".txt")
"""Endings of files with the boxes of one image."""
SIDES = ("xmin", "ymin", "xmax", "ymax")
FROM_ONE = "The VOC"
"""The beginning of a VOC database's name; its boxes go from their first to their last pixel, counted from 1."""
NAMELESS = "object"
"""The class name of boxes without a class."""


@dataclass(frozen=True)
class Marked:
    """The boxes of one image: corners float64 [m, 4], the names of their classes, and whether each is ignored, [m].

    Left, top, right and bottom are in pixels of the file, or in shares of its width and height.
    """

    corners: np.ndarray
    names: list[str]
    ignored: list[int]
    shares: bool = False


class Annotated(dict):
    """The columns of a COCO file, with one row for each image, and the names of its categories."""

    classes: tuple[str, ...] = ()


class Misfit(Exception):
    """A file with inconsistent content; the text is the reason, as a part of a sentence."""


def read(value: Any, root: str, classes: Sequence[str]) -> Marked:
    """Read the boxes of a cell: a file's path, relative to `root`, or a list, which may be JSON.

    Each row of a list is left, top, right, bottom, optionally followed by the name of a class and the reason to ignore
    the box (see `needs`).

    Args:
        classes: names of YOLO's class numbers; empty if unknown.

    Raises:
        ValueError: it holds something else; the message is a part of a sentence.
    """
    if isinstance(value, str) and value.lower().endswith(ENDINGS):
        path = Path(os.path.normpath(os.path.join(root, value)))
        try:
            return _voc(path) if path.suffix.lower() == ".xml" else _yolo(path, classes)
        except (OSError, ValueError, ElementTree.ParseError) as error:
            raise ValueError(f"{path} cannot be read as boxes: {getattr(error, 'strerror', None) or error}") from error
    try:
        return _marked(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{value!r} is not a list of boxes; give each as [left, top, right, bottom], optionally with its class"
        ) from error


def coco(content: dict[str, Any]) -> Annotated:
    """Convert the content of a COCO file to the columns file_name and boxes. Raises: Misfit."""
    try:
        names = {one["id"]: str(one["name"]) for one in sorted(content["categories"], key=lambda one: one["id"])}
        paths = {image["id"]: str(image["file_name"]) for image in content["images"]}
        boxes: dict[Any, list[list[Any]]] = {image: [] for image in paths}
        for number, one in enumerate(content["annotations"]):
            if one["image_id"] not in boxes:
                raise Misfit(f"annotation {number} has the image_id {one['image_id']}, which is not in images")
            if one["category_id"] not in names:
                raise Misfit(
                    f"annotation {number} has the category_id {one['category_id']}, which is not in categories"
                )
            if len(one["bbox"]) != 4:
                raise Misfit(f"the bbox of annotation {number} is not left, top, width and height, but {one['bbox']}")
            x, y, w, h = one["bbox"]
            boxes[one["image_id"]].append(
                [x, y, x + w, y + h, names[one["category_id"]], CROWD * bool(one.get("iscrowd"))]
            )
    except (KeyError, TypeError) as error:
        missing = f"an entry has no {error}" if isinstance(error, KeyError) else str(error)
        raise Misfit(f"it has images and annotations like a COCO file, but {missing}") from error
    found = Annotated(file_name=list(paths.values()), boxes=list(boxes.values()))
    found.classes = tuple(names.values())
    return found


def _marked(rows: Iterable[Sequence[Any]], shares: bool = False) -> Marked:
    full = [[*row, *(NAMELESS, 0)[len(row) - 4 :]] for row in rows]
    if any(len(row) != 6 for row in full):
        raise ValueError("a box needs four numbers, optionally followed by a class and an ignore flag")
    corners = np.array([row[:4] for row in full], dtype=np.float64).reshape(-1, 4)
    return Marked(corners, [str(row[4]) for row in full], [int(row[5]) for row in full], shares)


def _voc(path: Path) -> Marked:
    rows, root = [], ElementTree.parse(path).getroot()
    first = root.findtext("source/database", "").strip().startswith(FROM_ONE)
    for number, thing in enumerate(root.findall("object"), 1):
        try:
            corners = [float(thing.findtext(f"bndbox/{side}", "")) for side in SIDES]
        except ValueError as error:
            raise ValueError(f"object {number} has no {', '.join(SIDES)} in a bndbox") from error
        difficult = DIFFICULT * (thing.findtext("difficult", "").strip() == "1")
        left, top, right, bottom = corners
        name = thing.findtext("name", "").strip() or NAMELESS
        rows.append([left - first, top - first, right, bottom, name, difficult])
    return _marked(rows)


def _yolo(path: Path, classes: Sequence[str]) -> Marked:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, x, y, w, h = map(float, line.split())
        except ValueError as error:
            raise ValueError(f"line {number} is not a class, x, y, width and height, but {line!r}") from error
        if classes and not 0 <= label < len(classes):
            raise ValueError(f"line {number} has the class {label:g}, but only {len(classes)} are named, from 0")
        rows.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2, classes[int(label)] if classes else f"{label:g}"])
    return _marked(rows, shares=True)
