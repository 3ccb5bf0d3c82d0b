"""Parts of an item besides its class: further columns of its table, a mask, boxes, points, a pose's numbers."""

import contextlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from withhold.console import counted
from withhold.data import images, media
from withhold.data.hub import Hub
from withhold.data.images import Images
from withhold.data.kind import Table, Unreadable
from withhold.data.manifests import LABELS, find
from withhold.data.opening import Part, kind_named, part_of
from withhold.data.parquet import Parquet
from withhold.data.samples import Samples
from withhold.data.streaming import Stream
from withhold.data.tables import Files, Lines, Succession, located
from withhold.data.targets import Target
from withhold.errors import UsageError, WithholdError
from withhold.needs import IGNORED

log = logging.getLogger("withhold")

COLUMNS = {"mask": ("mask", "masks"), "boxes": ("boxes",), "points": ("points",), "poses": ("poses", "pose")}
"""Possible names of the column of a part."""
VOID = ("unlabelled", "unlabeled", "void", "ignore", "ignored")
"""Names of a class in masks that means "unknown"."""
EACH = {"points": (-1, 2), "poses": (-1,)}
"""The shape of the numbers of an item."""
SECOND = ("translation", "target", "summary", "paraphrase", "hypothesis", "answer", "text2", "sentence2")
"""Possible names of the column of a second text."""
FEW = 20
"""A column of whole numbers is one of classes if it has at most this many different values."""


@dataclass(frozen=True)
class Masks(Images):
    """Masks of images as rows uint8 [size, size, 1]: palette numbers or grey values, scaled by nearest neighbour.

    Args:
        classes: names of the numbers, if known. Then the numbers become indices of `known`, and `IGNORED` for others.
    """

    channels: int | None = 1
    classes: tuple[str, ...] = ()

    name = noun = "mask"

    @property
    def key(self):
        return f"upright mask {self.size}" + f" {self.classes}" * bool(self.classes)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the classes, without those of `VOID`."""
        return tuple(name for name in self.classes if name.lower() not in VOID)

    def decode(self, item):
        with media.image(item) as image:
            if image.mode not in images.NUMBERED:
                raise Unreadable(f"in colour ({image.mode}), but a mask needs numbers; save it as grey")
            if image.format == "JPEG":
                raise Unreadable(media.LOSSY)
            images.upright(image)
            square = np.asarray(images.square(image, self.size, Image.Resampling.NEAREST))
            if square.max() > 255:
                raise Unreadable(f"it has the number {square.max()}, but the maximum is 255")
            numbers = square.astype(np.uint8)[..., None]
        if not self.classes:
            return numbers
        wrong = numbers[(numbers >= len(self.classes)) & (numbers != IGNORED)]
        if wrong.size:
            raise Unreadable(f"it has the number {wrong.max()}, but only {len(self.classes)} classes are named, from 0")
        places = {name: place for place, name in enumerate(self.known)}
        table = np.full(IGNORED + 1, IGNORED, dtype=np.uint8)
        table[: len(self.classes)] = [places.get(name, IGNORED) for name in self.classes]
        return table[numbers]


def learnable(source: Any) -> tuple[str, ...]:
    """The parts of a source's images that a method can predict: the label, and columns and masks if it has them."""
    columns = part_of(source, kind_named("image")).table.columns
    named = {"image": kind_named("image").columns, "label": LABELS, **COLUMNS}
    found = {name: find(names, columns) for name, names in named.items()}
    others = set(columns) - set(found.values())
    return ("label", *["targets"] * bool(others), *["mask"] * (found["mask"] is not None))


def masks_of(part: Part, size: int) -> tuple[Part, Masks]:
    """Return the masks of the items of `part`, in their order, and their decoding to `size` pixels.

    Raises: UsageError: there are none, or their class names differ between tables.
    """
    if find(COLUMNS["mask"], part.table.columns) is None:
        ways = "a folder with images/NAME.jpg and masks/NAME.png (not an archive), or a column mask"
        raise UsageError(f"{part.name} has no masks. Give {ways}.")
    tables = part.table.tables.values() if isinstance(part.table, Succession) else [part.table]
    classes = {table.part_classes for table in tables}
    if len(classes) > 1 or len(max(classes)) > IGNORED:
        raise UsageError(
            f"The masks of {part.name} need the same classes.txt for all of them, with at most {IGNORED} names."
        )
    return Part({"": _masks(part.table)}, "", part.name), Masks(size=size, classes=classes.pop())


def _masks(table: Table) -> Table:
    if isinstance(table, Succession):
        return Succession({title: _masks(part) for title, part in table.tables.items()})
    column = find(COLUMNS["mask"], table.columns) or ""
    if isinstance(table, Parquet | Hub):
        return table.over(column)
    root = getattr(table, "root", "")
    names = [located(root, str(path or "")) for path in table.column(column)]
    while names and root and all(name.startswith("../") for name in names):  # masks are next to the folder of images
        root, names = os.path.dirname(os.path.normpath(root)), [name.removeprefix("../") for name in names]
    return Files(root, names)


def misfits(part: Part, rows: np.ndarray) -> dict[int, str]:
    """Find items at `rows` whose masks have another aspect ratio than their images; returns the reason for each.

    Masks of another size with the same aspect ratio are logged.
    """
    table, found, scaled = _masks(part.table), {}, []
    for some in np.array_split(rows, len(rows) // 1024 + 1):
        for row, *pair in zip(some.tolist(), *(one.items(some.tolist()) for one in (part.table, table)), strict=True):
            with contextlib.suppress(Unreadable):  # a stream replaces both by neighbours
                (w, h), (wide, high) = map(images.extent, pair)
                if abs(w * high - h * wide) > max(w, h, wide, high):  # more than rounding
                    found[row] = (
                        f"it has {w} x {h} pixels, but its mask {wide} x {high}; give both the same aspect ratio"
                    )
                elif (w, h) != (wide, high):
                    scaled.append((row, f"{w} x {h}, mask {wide} x {high}"))
    if scaled:
        row, sizes = scaled[0]
        said = counted(len(scaled), "mask"), part.table.names()[row], sizes
        log.info("%s: %s of another size than the image, such as %s (%s)", part.name, *said)
    return found


def left_out(part: Part, reasons: dict[int, str], strict: bool) -> list[tuple[str, str]]:
    """Return names and reasons of the items at these rows. Raises: WithholdError: with `strict`, if there is one."""
    names = part.table.names()
    found = [(names[row], reason) for row, reason in reasons.items()]
    for name, reason in found[:1]:
        if strict:
            raise WithholdError(f"{name} in {part.name} cannot be used: {reason}.")
        log.warning("%s: %s left out, such as %s (%s)", part.name, len(found), name, reason)
    return found


def give_masks(samples: Samples, masks: Samples, part: Part, kind: Masks) -> None:
    """Add masks to the images of the same rows, with the names of their classes, or numbers if there are no names.

    A warning names classes that do not occur in any mask.
    """
    masks.classes = kind.known
    if not kind.classes:
        log.info("%s: no classes.txt found; classes of the masks are named by their numbers", part.name)
    if isinstance(masks.values, np.ndarray) or not kind.known:  # of a stream, only if the names are needed
        counts = np.zeros(IGNORED + 1, dtype=np.int64)
        for rows in np.array_split(masks.rows, len(masks) // 1024 + 1):
            found = masks.values.decoded(rows) if isinstance(masks.values, Stream) else [masks.values[rows]]
            counts += sum(np.bincount(numbers.ravel(), minlength=IGNORED + 1) for numbers in found)
        there = np.flatnonzero(counts[:IGNORED])
        masks.classes = kind.known or tuple(map(str, range(there.max(initial=-1) + 1)))
        if missing := [name for number, name in enumerate(kind.known) if not counts[number]]:
            log.warning("%s: no mask has a pixel of %s", part.name, ", ".join(map(repr, missing)))
    samples.give("mask", masks)


def known(source: Any, kind: str = "image") -> set[str]:
    """Return which of "label", "mask", "boxes", "points" and "poses" a source has."""
    if isinstance(source, Samples):
        return {*source.parts} | ({"label"} if source.labels is not None else set())
    table = part_of(source, kind_named(kind)).table
    found = {part for part, names in COLUMNS.items() if find(names, table.columns)}
    return found | ({"label"} if table.labels is not None else set())


def second_text(part: Part) -> Part:
    """Return the second text of each row. Raises: UsageError: no column has a name of `SECOND`."""
    name = find(SECOND, part.table.columns)
    if name is None:
        raise UsageError(f"{part.name} has no column of second texts. Name it {', '.join(SECOND[:3])} or {SECOND[-1]}.")
    return Part({"": Lines([str(text or "") for text in part.table.column(name)])}, "", f"{part.name} ({name})")


def attach_columns(samples: Samples, part: Part, kinds: Sequence[str], wanted: Sequence[str]) -> None:
    """Add the wanted columns of their table to the samples, and log the unused ones, if any is wanted."""
    if not wanted:
        return
    table, rows = part.table, samples.sources
    items = [SECOND if kind in kinds[:place] else kind_named(kind).columns for place, kind in enumerate(kinds)]
    read = {find(names, table.columns) for names in items}
    columns = {name: find(names, table.columns) for name, names in {"label": LABELS, **COLUMNS}.items()}
    if "targets" in wanted and "label" not in wanted:
        del columns["label"]  # here it is a column like any other
    others = [name for name in table.columns if name not in read and name not in columns.values()]
    left = [column for name, column in columns.items() if column and name not in wanted]
    left += others * ("targets" not in wanted)
    if left:
        log.info("%s also has %s, which this method does not use", part.name, ", ".join(left))
    for name in wanted:
        if not (others if name == "targets" else columns.get(name, True) or name in ("label", "mask", "boxes")):
            raise UsageError(f"{part.name} has no column of {name}, which is needed. Add it to the table.")
        if name == "targets":
            samples.give(name, {other: target(part, other).select(rows) for other in others})
        elif name == "domain":
            samples.give(name, Target(table.domains[rows] if isinstance(table, Succession) else 0 * rows))
        elif name in EACH:
            values = table.column(str(columns[name]))
            lists = [_numbers(values[row], name, part) for row in rows]
            if name == "points":
                size = samples.shape[0]
                placed = zip(lists, images.extents(table, rows.tolist(), size), strict=True)
                lists = [images.in_square(points, extent, size) for points, extent in placed]
            samples.give(name, Target(_stacked(lists, name, part)))


def target(part: Part, name: str) -> Target:
    """Read a column as numbers if all values are numbers, and more than `FEW` are different or one is not whole.

    Otherwise it is read as classes, numbered like labels. This is decided over all splits. Missing values are NaN, or
    class -1.
    """
    there = {split: table for split, table in part.tables.items() if find([name.strip().lower()], table.columns)}
    columns = {split: table.column(name) for split, table in there.items()}
    with contextlib.suppress(TypeError, ValueError):
        values = {
            split: np.array([np.nan if value is None or value == "" else _number(value) for value in column])
            for split, column in columns.items()
        }
        known = np.unique(np.concatenate([*values.values()]))
        if np.isfinite(known).sum() > FEW or (known[np.isfinite(known)] % 1).any():
            return Target(values[part.split].astype(np.float32))
    return Target(*part.numbered(columns))


def _number(value: Any) -> float:
    """Raises: TypeError, ValueError: it is not a number, as 1_10 is not."""
    if isinstance(value, str) and "_" in value:
        raise ValueError("Python's underscores between digits")
    return float(value)


def _stacked(lists: list[np.ndarray], name: str, part: Part) -> np.ndarray:
    """The numbers of each item, float32 [n, ...]."""
    if len({numbers.size for numbers in lists}) > 1:
        raise WithholdError(
            f"The {name} in {part.name} have different numbers of values. Give the same number in each row."
        )
    return np.stack(lists).astype(np.float32)


def _numbers(value: Any, name: str, part: Part) -> np.ndarray:
    """Convert a JSON list of numbers, or a list, to an array of the shape in `EACH`."""
    try:
        numbers = np.array(json.loads(value) if isinstance(value, str) and value else value or [], dtype=np.float64)
        return numbers.reshape(EACH[name])
    except (ValueError, TypeError) as error:
        raise WithholdError(f"{part.name} has {name} that are not a JSON list of numbers: {value!r}.") from error
