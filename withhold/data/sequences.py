"""Videos as a whole, and the masks that say what is to be followed in them."""

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
from withhold.data.images import NUMBERED, Images
from withhold.data.kind import Item, Unreadable
from withhold.data.videos import Videos, each_frame
from withhold.errors import UsageError, WithholdError


def has_masks(source: Any) -> bool:
    """Whether a source holds a folder of frames and one of masks beside it."""
    return isinstance(source, str | os.PathLike) and "mask" in beside(Path(source))


@dataclass(frozen=True)
class Mask:
    """What is marked in a frame: `labels` int64 [h, w], 0 where there is nothing.

    `palette` holds their colours as the file has them, [r, g, b, r, g, b ...].
    """

    labels: np.ndarray
    palette: list[int] | None = None


@dataclass(frozen=True)
class Sequence:
    """A video, as a source gives it, with masks of its frames.

    `masks` are their files by the number of their frame; the first frame's is there, unless points are followed.
    """

    name: str
    video: Item
    masks: dict[int, str]

    def frames(self, side: int | None = None) -> np.ndarray:
        """All frames, whole, uint8 [t, h, w, 3]; their shorter side is `side` pixels, or what it is.

        Raises: WithholdError, if there is one only, or the first mask is of another shape.
        """
        try:
            found = list(media.bounded(each_frame(self.video, side)))
        except Unreadable as error:
            raise WithholdError(f"{self.name} cannot be read: {error}.") from error
        if len(found) < 2:
            raise WithholdError(f"{self.name} has {len(found)} frame(s): there is nothing to follow; give two or more.")
        if len({frame.shape for frame in found}) > 1:
            raise WithholdError(f"The frames of {self.name} are not all of one size: make them so.")
        if self.masks:
            (h, w), (tall, wide) = self.mask(0).labels.shape, found[0].shape[:2]
            if abs(h * wide - w * tall) > max(h, w, tall, wide):  # more than rounding
                raise WithholdError(
                    f"{self.masks[0]} has {w} x {h} pixels, and the frames of {self.name} are not of its proportions: "
                    "give a mask of the first frame."
                )
        return np.stack(found)

    def mask(self, number: int) -> Mask:
        """The mask of a frame. Raises: WithholdError, with the reason; for the first frame, that nothing is marked."""
        mask = read_mask(self.masks[number])
        if number == 0 and not mask.labels.any():
            raise WithholdError(f"{self.masks[0]} marks nothing: all its pixels are 0; draw what is to be followed.")
        return mask


def read_mask(path: str) -> Mask:
    """A mask from a picture: its palette's numbers, or its grey values. Raises: WithholdError, with the reason."""
    try:
        with media.image(path) as image:
            if image.mode not in NUMBERED:
                raise WithholdError(f"{path} is in colour ({image.mode}), and a mask has numbers: save it as grey.")
            if image.format == "JPEG":
                raise Unreadable(media.LOSSY)
            palette = image.getpalette() if image.mode == "P" else None
            return Mask(np.array(image).astype(np.int64), palette)
    except Unreadable as error:
        raise WithholdError(f"{path} cannot be read as a mask ({error}): give a PNG file.") from error


def sequence(source: Any, mask: str | None) -> Sequence:
    """One video, a file or a folder of frames, with a mask of its first frame, if any. Raises: UsageError."""
    table = next(iter(sources.tables(source, Videos).values()))
    if len(table) != 1:
        raise UsageError(f"{source} holds {len(table)} videos, and the mask is of one: name that.")
    return Sequence(str(source), table.items([0])[0], {} if mask is None else {0: mask})


def read_points(path: str) -> tuple[list[str], np.ndarray]:
    """Names and places (x, y), float [k, 2] in pixels from the upper left, of a csv file. Raises: UsageError."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return [row["name"] for row in rows], np.array([[float(row["x"]), float(row["y"])] for row in rows])
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else getattr(error, "strerror", None)
        told = f"{path} cannot be read as points ({reason or error}): give a csv file with the columns name, x, y."
        raise UsageError(told) from error


def sequences(source: Any) -> list[Sequence]:
    """All sequences of a folder: frames in images/NAME/*.jpg, masks of the same names in masks/NAME/*.png.

    Or in JPEGImages and Annotations, as DAVIS has them; NAME may be a path. Frames without a mask are followed through.
    Raises: UsageError, also where a first frame has no mask.
    """
    pair = beside(Path(source)).get("mask")
    if pair is None:
        raise UsageError(
            f"{source} holds no sequences with masks: give a folder with images/NAME/*.jpg and masks/NAME/*.png."
        )
    pictures, masks = ({posixpath.splitext(name)[0]: name for name in walk(part, Images.endings)} for part in pair)
    folders: dict[str, list[str]] = {}
    for stem in pictures:
        folders.setdefault(posixpath.dirname(stem), []).append(stem)
    found = []
    for name, stems in folders.items():
        marked = {number: str(pair[1] / masks[stem]) for number, stem in enumerate(stems) if stem in masks}
        if 0 not in marked:
            raise UsageError(f"The first frame of {name} in {source}, {pictures[stems[0]]}, has no mask: draw one.")
        found.append(Sequence(name, [str(pair[0] / pictures[stem]) for stem in stems], marked))
    if not found:
        raise UsageError(f"{pair[0]} holds no frames: give a folder of images for each sequence.")
    return found
