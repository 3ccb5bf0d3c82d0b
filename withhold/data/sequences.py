"""Whole videos with masks of the objects to track."""

import csv
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from withhold.data import media, sources
from withhold.data.arranging import walk
from withhold.data.belonging import beside
from withhold.data.images import NUMBERED, Images, upright
from withhold.data.kind import Item, Unreadable
from withhold.data.tables import in_order
from withhold.data.videos import Videos, each_frame
from withhold.errors import UsageError, WithholdError


def has_masks(source: Any) -> bool:
    """Whether a source has a folder of frames and a folder of masks next to it."""
    return isinstance(source, str | os.PathLike) and "mask" in beside(Path(source))


@dataclass(frozen=True)
class Mask:
    """The objects marked in a frame: `labels` int64 [h, w], 0 for the background.

    `palette` holds their colours in the file, [r, g, b, r, g, b ...].
    """

    labels: np.ndarray
    palette: list[int] | None = None


@dataclass(frozen=True)
class Sequence:
    """An undecoded video with masks of some frames.

    `masks` are the mask files by the number of their frame; the first frame has one, unless points are tracked.
    """

    name: str
    video: Item
    masks: dict[int, str]

    def frames(self, side: int | None = None) -> np.ndarray:
        """All whole frames, uint8 [t, h, w, 3]; their shorter side is scaled to `side` pixels, if given.

        Raises: WithholdError: there are fewer than two, or the first mask has another aspect ratio.
        """
        try:
            found = list(media.bounded(each_frame(self.video, side)))
        except Unreadable as error:
            raise WithholdError(f"{self.name} cannot be read: {error}.") from error
        if len(found) < 2:
            raise WithholdError(f"{self.name} has {len(found)} frame(s), but tracking needs at least two.")
        if len({frame.shape for frame in found}) > 1:
            raise WithholdError(f"The frames of {self.name} differ in size. Give frames of one size.")
        if self.masks:
            (h, w), (tall, wide) = self.mask(0).labels.shape, found[0].shape[:2]
            if abs(h * wide - w * tall) > max(h, w, tall, wide):  # more than rounding
                raise WithholdError(
                    f"{self.masks[0]} has {w} x {h} pixels, which is not the aspect ratio of the frames of {self.name}."
                    " Give a mask of the first frame."
                )
        return np.stack(found)

    def mask(self, number: int) -> Mask:
        """Read the mask of a frame. Raises: WithholdError: it cannot be read, or that of the first frame is empty."""
        mask = read_mask(self.masks[number])
        if number == 0 and not mask.labels.any():
            raise WithholdError(f"{self.masks[0]} is empty: all its pixels are 0. Draw the objects to track.")
        return mask


def read_mask(path: str) -> Mask:
    """Read a mask from an image: its palette numbers or grey values. Raises: WithholdError: it cannot be read."""
    try:
        with media.image(path) as image:
            if image.mode not in NUMBERED:
                raise WithholdError(f"{path} is in colour ({image.mode}), but a mask needs numbers. Save it as grey.")
            if image.format == "JPEG":
                raise Unreadable(media.LOSSY)
            upright(image)
            palette = image.getpalette() if image.mode == "P" else None
            return Mask(np.array(image).astype(np.int64), palette)
    except Unreadable as error:
        raise WithholdError(f"{path} cannot be read as a mask ({error}). Give a PNG file.") from error


def sequence(source: Any, mask: str | None) -> Sequence:
    """Open one video, a file or a folder of frames, with a mask of its first frame, if any. Raises: UsageError."""
    table = next(iter(sources.tables(source, Videos).values()))
    if len(table) != 1:
        raise UsageError(f"{source} has {len(table)} videos, but a mask belongs to one. Give that video.")
    return Sequence(str(source), table.items([0])[0], {} if mask is None else {0: mask})


def read_points(path: str) -> tuple[list[str], np.ndarray]:
    """Read names and points (x, y), float [k, 2] in pixels from the upper left, of a csv file. Raises: UsageError."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return [row["name"] for row in rows], np.array([[float(row["x"]), float(row["y"])] for row in rows])
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else getattr(error, "strerror", None)
        told = f"{path} cannot be read as points ({reason or error}). Give a csv file with the columns name, x, y."
        raise UsageError(told) from error


def sequences(source: Any) -> list[Sequence]:
    """Find all sequences of a folder: frames in images/NAME/*.jpg, masks of the same names in masks/NAME/*.png.

    The folders may also be JPEGImages and Annotations, as in DAVIS; NAME may be a path. Frames may lack a mask, except
    the first one. Raises: UsageError: there are no sequences, or a first frame has no mask.
    """
    pair = beside(Path(source)).get("mask")
    if pair is None:
        raise UsageError(
            f"{source} has no sequences with masks. Give a folder with images/NAME/*.jpg and masks/NAME/*.png."
        )
    pictures, masks = ({posixpath.splitext(name)[0]: name for name in walk(part, Images.endings)} for part in pair)
    folders: dict[str, list[str]] = {}
    for stem in pictures:
        folders.setdefault(posixpath.dirname(stem), []).append(stem)
    found = []
    for name, stems in ((name, in_order(stems)) for name, stems in folders.items()):
        marked = {number: str(pair[1] / masks[stem]) for number, stem in enumerate(stems) if stem in masks}
        if 0 not in marked:
            raise UsageError(f"The first frame of {name} in {source}, {pictures[stems[0]]}, has no mask. Draw one.")
        found.append(Sequence(name, [str(pair[0] / pictures[stem]) for stem in stems], marked))
    if not found:
        raise UsageError(f"{pair[0]} has no frames. Give a folder of images for each sequence.")
    return found
