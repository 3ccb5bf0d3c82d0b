"""Boxes of images: from the annotations of a source to pixels of the decoded squares."""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from withhold.data import annotations, images
from withhold.data.annotations import Marked
from withhold.data.kind import Table
from withhold.data.manifests import find
from withhold.data.opening import Part
from withhold.data.samples import Samples
from withhold.data.tables import Succession, located
from withhold.data.targets import Target
from withhold.errors import UsageError
from withhold.needs import DIFFICULT, VISIBLE

log = logging.getLogger("withhold")

COLUMN = ("boxes",)
ROUNDING = 1
"""Pixels by which a box may exceed its image."""


def read_boxes(part: Part) -> tuple[list[Marked | str], tuple[str, ...]]:
    """Read the boxes of each item, or the reason why they are unknown, and the names of all classes.

    An empty list, an XML file without objects and an empty text file mean that there are no objects, which is used in
    training. An empty cell and a missing file mean that the boxes are unknown. Classes are numbered over all splits.

    Raises:
        UsageError: the source has no boxes.
    """
    if find(COLUMN, part.table.columns) is None:
        raise UsageError(
            f"{part.name} has no boxes. Give a VOC, COCO or YOLO folder (not an archive), a COCO file, or a column "
            "boxes."
        )
    splits = {split: _read(table) for split, table in part.tables.items() if find(COLUMN, table.columns)}
    named = dict.fromkeys(name for table in _flat(part.tables.values()) for name in table.part_classes)
    used = [name for found in splits.values() for one in found if isinstance(one, Marked) for name in one.names]
    others = {*used} - {*named}
    classes = (*named, *sorted(others, key=lambda name: (int(name) if name.isdigit() else -1, name)))
    if not named and any(isinstance(one, Marked) and one.shares for one in splits[part.split]):
        log.info("%s: no classes.txt or data.yaml found; classes are named by their numbers", part.name)
    if missing := [name for name in named if name not in used]:
        log.warning("%s: no image has a box of %s", part.name, ", ".join(map(repr, missing)))
    return splits[part.split], classes


def give_boxes(samples: Samples, part: Part, marked: Sequence[Marked | str], classes: tuple[str, ...]) -> None:
    """Add boxes to the images of the same rows, float32 [n, m, 6], NaN where there are fewer; see `needs.PARTS`.

    Boxes are cropped with their image; a box of which less than `VISIBLE` is left becomes difficult. Boxes without area
    or outside of their image are left out; they are listed and a warning is logged.
    """
    held, lost, cut = [], [], 0
    rows, size = samples.sources.tolist(), samples.shape[0]
    for name, row, extent in zip(samples.names, rows, images.extents(part.table, rows, size), strict=True):
        one, (width, height) = marked[row], extent
        assert isinstance(one, Marked), "items without annotation were left out"
        corners = one.corners * ([width, height] * 2 if one.shares else 1)
        numbers = np.array([[classes.index(cls), flag] for cls, flag in zip(one.names, one.ignored, strict=True)])
        inside = np.clip(corners, 0, [width, height] * 2)
        flat, gone = (~(box[:, 2:] > box[:, :2]).all(1) for box in (corners, inside))
        lost += [(name, f"a box of no area: {box.tolist()}") for box in corners[flat]]
        lost += [
            (name, f"a box outside of its {width} x {height} pixels: {box.tolist()}") for box in corners[gone & ~flat]
        ]
        cut += int((np.abs(inside - corners) > ROUNDING)[~gone].any(1).sum())
        held.append(_in_square(inside[~gone], numbers.reshape(-1, 2)[~gone], extent, size))
    if lost:
        log.warning("%s: %s boxes are left out, such as in %s, %s", part.name, len(lost), *lost[0])
        samples.skipped += lost
    if cut:
        log.warning("%s: %s boxes extend beyond their images and are cropped", part.name, f"{cut:,}")
    boxes = np.full((len(held), max(map(len, held), default=0), 6), np.nan, dtype=np.float32)
    for row, found in enumerate(held):
        boxes[row, : len(found)] = found
    samples.give("boxes", Target(boxes, classes))


def _in_square(corners: np.ndarray, numbers: np.ndarray, extent: tuple[int, int], size: int) -> np.ndarray:
    """Corners in pixels of a file, class and flag of each box -> those of the boxes visible in its square of `size`."""
    placed = images.in_square(corners, extent, size)
    shown = np.clip(placed, 0, size)
    share = _areas(shown) / np.maximum(_areas(placed), 1e-9)
    hardly = (share < VISIBLE) & (numbers[:, 1] == 0)
    numbers = np.stack([numbers[:, 0], np.where(hardly, DIFFICULT, numbers[:, 1])], axis=1)
    return np.concatenate([shown, numbers], axis=1)[share > 0]


def _areas(corners: np.ndarray) -> np.ndarray:
    return (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])


def _flat(tables: Iterable[Table]) -> list[Table]:
    return [one for table in tables for one in (table.tables.values() if isinstance(table, Succession) else [table])]


def _read(table: Table) -> list[Marked | str]:
    if isinstance(table, Succession):
        return [one for part in table.tables.values() for one in _read(part)]
    root = getattr(table, "root", "")
    return [_one(value, root, table.part_classes) for value in table.column(COLUMN[0])]


def _one(value: Any, root: str, classes: tuple[str, ...]) -> Marked | str:
    if isinstance(value, str) and value.strip().lower().endswith(annotations.ENDINGS):  # not the boxes themselves
        value = located(root, value)
        if not os.path.isfile(os.path.join(root, value)):
            value = None
    if value is None or value == "":
        return "it has no annotation"
    try:
        return annotations.read(value, root, classes)
    except ValueError as error:
        return str(error)
