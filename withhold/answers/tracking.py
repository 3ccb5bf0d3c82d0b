"""Tracking of marked objects from the first frame through a video, and an overlay of the result."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from withhold import data
from withhold.answers.files import Film
from withhold.errors import UsageError
from withhold.methods.answers import Mask, Points

if TYPE_CHECKING:
    from withhold.runs import Run

COLOURS = ((230, 60, 60), (60, 160, 230), (80, 200, 90), (240, 180, 40), (170, 90, 210), (60, 200, 200))
COVER = 0.5
"""Opacity of the labels' colours in the overlay."""
DOT = 0.015
"""Radius of a drawn point, as a share of the shorter side."""


def marks(values: dict[str, Any]) -> list[Mask | Points]:
    """The values that mark positions: masks and points."""
    return [value for value in values.values() if isinstance(value, Mask | Points)]


def follow(run: "Run", source: Any, given: dict[str, str], values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a video and its outputs, with "overlay", the video with the outputs drawn in.

    Every frame is scaled to the encoder's size, without cropping. Points, given and returned, are in pixels of the
    video. A mask, whose file is in `given`, has the proportions of the video.

    Raises:
        UsageError, WithholdError: the video or the marks are invalid.
    """
    masks = [given[name] for name, value in values.items() if isinstance(value, Mask)]
    sequence = data.sequence(source, masks[0] if masks else None)
    encoder: Any = run.encoder
    frames = torch.from_numpy(sequence.frames(encoder.size)).permute(0, 3, 1, 2)
    height, width = next(data.each_frame(sequence.video)).shape[:2]
    for points in (mark for mark in marks(values) if isinstance(mark, Points)):
        for name, (x, y) in zip(points.names, points.places.tolist(), strict=True):
            if not (0 <= x < width and 0 <= y < height):
                raise UsageError(f"{name} is at {x:g}, {y:g}, outside the frame of {width} x {height} pixels.")
    scale = torch.tensor([width / frames.shape[3], height / frames.shape[2]])
    answers = _scaled(run.apply(frames, **_scaled(values, 1 / scale)), scale)

    def drawn() -> Iterator[np.ndarray]:
        for number, frame in zip(range(len(frames)), data.each_frame(sequence.video), strict=False):
            for mark in marks(answers):
                frame = (_draw_mask if isinstance(mark, Mask) else _draw_points)(frame, mark, number)
            yield frame

    return Path(source).name, answers | {"overlay": Film(drawn(), data.frame_rate(sequence.video))}


def _scaled(values: dict[str, Any], scale: Tensor) -> dict[str, Any]:
    """The same values, with the coordinates of points multiplied by `scale`."""
    scaled = {k: replace(v, places=v.places * scale) for k, v in values.items() if isinstance(v, Points)}
    return values | scaled


def _draw_mask(frame: np.ndarray, mask: Any, number: int) -> np.ndarray:
    """A frame uint8 [h, w, 3] with every label in its colour, from the palette or a default."""
    labels = Image.fromarray(mask.labels[number].numpy().astype(np.int32))
    numbers = np.array(labels.resize((frame.shape[1], frame.shape[0]), Image.Resampling.NEAREST))
    drawn = frame.astype(np.float32)
    for label in np.unique(numbers[numbers > 0]).tolist():
        colour = (mask.palette or [])[3 * label : 3 * label + 3] or COLOURS[label % len(COLOURS)]
        drawn[numbers == label] += COVER * (np.array(colour) - drawn[numbers == label])
    return drawn.round().astype(np.uint8)


def _draw_points(frame: np.ndarray, points: Any, number: int) -> np.ndarray:
    """A frame uint8 [h, w, 3] with a dot for every point."""
    picture = Image.fromarray(frame)
    pen, radius = ImageDraw.Draw(picture), max(2, round(DOT * min(frame.shape[:2])))
    for row, (x, y) in enumerate(points.places[number].tolist()):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), COLOURS[row % len(COLOURS)], "white")
    return np.array(picture)
