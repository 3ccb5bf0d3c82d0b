"""Masks or points that a trained method carries through a video, and the video with them drawn in."""

import csv
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from withhold import data, nets
from withhold import methods as registry
from withhold.data import Mask, Sequence
from withhold.errors import UsageError
from withhold.files import writing

if TYPE_CHECKING:
    from withhold.runs import Run

COLOURS = ((230, 60, 60), (60, 160, 230), (80, 200, 90), (240, 180, 40), (170, 90, 210), (60, 200, 200))
COVER = 0.5
"""How much of a pixel's colour is its label's, in the overlay."""
DOT = 0.015
"""The radius of a point that is drawn, as a share of the shorter side."""


def tracks(run: "Run") -> bool:
    """Whether its method follows what a mask marks: its `apply_to` takes one."""
    return "mask" in inspect.signature(registry.find(run.config["method"]).apply_to).parameters


def follow(run: "Run", source: str, mask: str | None, folder: Path) -> list[Path]:
    """Carry what marks a video's first frame through it, and write masks/00000.png ... or points.csv; and overlay.mp4.

    The method sees every frame whole, scaled to the encoder's size. The masks have the shape, the numbers and the
    palette of the first one, the overlay the video's own shape and pace; points are in pixels of the video.

    Args:
        source: a video, as a file or as a folder of its frames.
        mask: a PNG file with a palette or in grey, of the proportions of the video; 0 is what is not followed. Or a
            csv file of points: name, x, y.

    Raises:
        UsageError, WithholdError: each with a sentence that says what is wrong with the video or the mask.
    """
    if not tracks(run):
        raise UsageError(f"{run.config['method']} follows nothing: leave --mask out, or take a method that tracks.")
    if mask is None:
        raise UsageError(f"{run.config['method']} follows what a mask marks: give --mask FIRST.png.")
    if mask.lower().endswith(".csv"):
        return _follow_points(run, data.sequence(source, None), mask, folder)
    sequence = data.sequence(source, mask)
    first = sequence.mask(0)
    values, labels = np.unique(first.labels, return_inverse=True)
    encoder: Any = run.encoder
    clip = torch.from_numpy(sequence.frames(encoder.size)).permute(0, 3, 1, 2)
    shares = run.apply(clip[None], torch.from_numpy(labels))["shares"][0]
    written = []
    for number, part in enumerate(shares):
        found = nets.at_pixels(part, labels.shape).numpy() if number else labels
        path = folder / "masks" / f"{number:05d}.png"
        with writing(path) as partial:
            _picture(values[found], first).save(partial, format="PNG")
        written.append(path)

    def draw(number: int, frame: np.ndarray) -> np.ndarray:
        with Image.open(written[number]) as picture:
            numbers = np.array(picture.resize((frame.shape[1], frame.shape[0]), Image.Resampling.NEAREST))
        return _drawn(frame, numbers, first)

    return [*written, _film(folder / "overlay.mp4", sequence, len(written), draw)]


def _follow_points(run: "Run", sequence: Sequence, path: str, folder: Path) -> list[Path]:
    names, first = data.read_points(path)
    encoder: Any = run.encoder
    frames = sequence.frames(encoder.size)
    height, width = next(data.each_frame(sequence.video)).shape[:2]
    for name, (x, y) in zip(names, first.tolist(), strict=True):
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(
                f"{path} puts {name} at {x:g}, {y:g}, outside of the {width} x {height} pixels of a frame."
            )
    if not names:
        raise UsageError(f"{path} marks nothing: give a line with name, x, y for each point.")
    scale = np.array([width / frames.shape[2], height / frames.shape[1]])
    places = torch.from_numpy(first / scale).float()
    marked = nets.bumps(places, frames.shape[1:3], encoder.stride)
    shares = run.apply(torch.from_numpy(frames).permute(0, 3, 1, 2)[None], marked)["shares"][0]
    found = [first, *(nets.centres(part).numpy() * (width, height) for part in shares[1:])]
    table = folder / "points.csv"
    with writing(table) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "name", "x", "y"])
        for number, points in enumerate(found):
            writer.writerows([number, name, f"{x:.1f}", f"{y:.1f}"] for name, (x, y) in zip(names, points, strict=True))
    radius = max(2, round(DOT * min(height, width)))

    def draw(number: int, frame: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(frame)
        pen = ImageDraw.Draw(picture)
        for row, (x, y) in enumerate(found[number].tolist()):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), COLOURS[row % len(COLOURS)], "white")
        return np.array(picture)

    return [table, _film(folder / "overlay.mp4", sequence, len(found), draw)]


def _picture(labels: np.ndarray, like: Mask) -> Image.Image:
    """Labels as a picture with the palette of another mask, or in grey."""
    picture = Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16))
    if like.palette is not None:
        picture.putpalette(like.palette)
    return picture


def _film(path: Path, sequence: Sequence, count: int, draw: Callable[[int, np.ndarray], np.ndarray]) -> Path:
    """Write the first `count` frames of the video, at its own shape and pace, as `draw` gives them of number and frame.

    Returns:
        `path`.
    """
    import av

    with writing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = None
        for number, frame in zip(range(count), data.each_frame(sequence.video), strict=False):
            # What plays everywhere has an even number of rows and columns.
            drawn = draw(number, frame)[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]
            if stream is None:
                stream = container.add_stream("libx264", rate=data.frame_rate(sequence.video))
                stream.height, stream.width, stream.pix_fmt = *drawn.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
    return path


def _drawn(frame: np.ndarray, numbers: np.ndarray, like: Mask) -> np.ndarray:
    """A frame uint8 [h, w, 3] with every label in its colour: the palette's, or one of our own."""
    drawn = frame.astype(np.float32)
    for number in np.unique(numbers[numbers > 0]).tolist():
        colour = (like.palette or [])[3 * number : 3 * number + 3] or COLOURS[number % len(COLOURS)]
        drawn[numbers == number] += COVER * (np.array(colour) - drawn[numbers == number])
    return drawn.round().astype(np.uint8)
