"""Masks that a trained method carries through a video, and the video with them drawn in."""

import inspect
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from withhold import data, nets
from withhold import methods as registry
from withhold.data import Mask, Sequence
from withhold.errors import UsageError
from withhold.files import writing
from withhold.runs.run import Run

COLOURS = ((230, 60, 60), (60, 160, 230), (80, 200, 90), (240, 180, 40), (170, 90, 210), (60, 200, 200))
COVER = 0.5
"""How much of a pixel's colour is its label's, in the overlay."""


def tracks(run: Run) -> bool:
    """Whether its method follows what a mask marks: its `apply_to` takes one."""
    return "mask" in inspect.signature(registry.find(run.config["method"]).apply_to).parameters


def follow(run: Run, source: str, mask: str | None, folder: Path) -> list[Path]:
    """Carry the mask of a video's first frame through it, and write masks/00000.png ... and overlay.mp4.

    The method sees every frame whole, scaled to the encoder's size. The masks have the shape, the numbers and the
    palette of the first one, the overlay the video's own shape and pace.

    Args:
        source: a video, as a file or as a folder of its frames.
        mask: a PNG file with a palette or in grey, of the proportions of the video; 0 is what is not followed.

    Raises:
        UsageError, WithholdError: each with a sentence that says what is wrong with the video or the mask.
    """
    if not tracks(run):
        raise UsageError(f"{run.config['method']} follows nothing: leave --mask out, or take a method that tracks.")
    if mask is None:
        raise UsageError(f"{run.config['method']} follows what a mask marks: give --mask FIRST.png.")
    sequence = data.sequence(source, mask)
    first = sequence.mask(0)
    values, labels = np.unique(first.labels, return_inverse=True)
    clip = torch.from_numpy(sequence.frames(run.encoder.size)).permute(0, 3, 1, 2)
    shares = run.apply(clip[None], torch.from_numpy(labels))["shares"][0]
    written = []
    for number, part in enumerate(shares):
        found = nets.at_pixels(part, labels.shape).numpy() if number else labels
        path = folder / "masks" / f"{number:05d}.png"
        with writing(path) as partial:
            _picture(values[found], first).save(partial, format="PNG")
        written.append(path)
    path = folder / "overlay.mp4"
    with writing(path) as partial:
        _film(partial, sequence, written, first)
    return [*written, path]


def _picture(labels: np.ndarray, like: Mask) -> Image.Image:
    """Labels as a picture with the palette of another mask, or in grey."""
    picture = Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16))
    if like.palette is not None:
        picture.putpalette(like.palette)
    return picture


def _film(path: Path, sequence: Sequence, masks: list[Path], like: Mask) -> None:
    """Write the video, at its own shape and pace, with the masks drawn in."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for mask, frame in zip(masks, data.each_frame(sequence.video), strict=False):  # a broken end has no mask
            with Image.open(mask) as picture:
                numbers = np.array(picture.resize((frame.shape[1], frame.shape[0]), Image.Resampling.NEAREST))
            # What plays everywhere has an even number of rows and columns.
            drawn = _drawn(frame, numbers, like)[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]
            if stream is None:
                stream = container.add_stream("libx264", rate=data.frame_rate(sequence.video))
                stream.height, stream.width, stream.pix_fmt = *drawn.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def _drawn(frame: np.ndarray, numbers: np.ndarray, like: Mask) -> np.ndarray:
    """A frame uint8 [h, w, 3] with every label in its colour: the palette's, or one of our own."""
    drawn = frame.astype(np.float32)
    for number in np.unique(numbers[numbers > 0]).tolist():
        colour = (like.palette or [])[3 * number : 3 * number + 3] or COLOURS[number % len(COLOURS)]
        drawn[numbers == number] += COVER * (np.array(colour) - drawn[numbers == number])
    return drawn.round().astype(np.uint8)
