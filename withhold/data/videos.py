"""One video, from a file or a folder of frames to uint8 frames of the wanted size and rate."""

import contextlib
import io
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from withhold.data import images
from withhold.data.images import Pictures
from withhold.data.kind import Item, Unreadable, nothing_in
from withhold.errors import UsageError

DECODER = 1  # part of every cache key: raise it when the frames that come out of `decode` change
FRAME_RATE = 24.0
"""Frames a second of a folder of frames, which does not say."""
FAR = 4
"""Frames of a video that are looked at for colour."""

log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Videos(Pictures):
    """Videos as frames uint8 [t, size, size, channels], seen through windows of `frames`.

    Args:
        size: height and width in pixels; None takes `default_size` of the median shorter side.
        channels: 1 or 3; None takes 1 if all videos are grey.
        fps: frames a second that are kept; a slower video shows frames twice.
        frames: in a window.
    """

    fps: float = 8.0
    frames: int = 16

    name = noun = "video"
    endings = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg")
    columns = ("video", "clip", "image", "picture", "path", "file", "filename", "file_name", "video_path", "bytes",
               "mp4", "name")  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.fps <= 0 or self.frames < 1:
            raise UsageError(
                f"A video of {self.frames} frames, {self.fps} a second, cannot be: give more than 0 of both."
            )

    @property
    def window(self):
        return self.frames

    @property
    def key(self):
        return f"video {self.size} {self.channels} {self.fps} {DECODER}"

    @property
    def at_once(self):
        return 8

    @property
    def rows_a_second(self):
        return self.fps

    def measure(self, item):
        if isinstance(item, np.ndarray):
            return {"side": min(item.shape[1:3]), "grey": item.shape[3] == 1}
        found, _ = _before_a_break(_frames(item, FRAME_RATE, 32, 3), FAR)
        grey = all(np.ptp(frame.astype(np.int16), axis=2).max() <= 8 for frame in found)  # chroma is rounded
        return {"side": _short_side(item), "grey": grey}

    def decode(self, item):
        return decode(item, self.size, self.channels, self.fps)


def decode(item: Item, size: int, channels: int, fps: float) -> np.ndarray:
    """A video -> uint8 [t, size, size, channels]: the frame that is shown at each multiple of 1 / fps seconds.

    Each is scaled and cropped as an image is: the shorter side to `size`, the centre square kept, upright as the file
    says. A folder of frames counts as 24 a second, an array [t, h, w, c] has the frames wanted. Of a video that
    breaks off, what comes before is kept.

    Raises:
        Unreadable: with the reason.
    """
    found, reason = _before_a_break(_frames(item, fps, size, channels))
    if reason:
        log.warning("%s breaks off after %d frames (%s); these are kept", _called(item), len(found), reason)
    return np.stack(found)


def _before_a_break(frames: Iterator[np.ndarray], most: int | None = None) -> tuple[list[np.ndarray], str]:
    """The first `most` frames, or those before a break, and why it broke. Raises: Unreadable, if there is none."""
    found: list[np.ndarray] = []
    try:
        for frame in islice(frames, most):
            found.append(frame)
    except Unreadable as error:
        if not found:
            raise
        return found, str(error)
    if not found:
        raise Unreadable("no frame")
    return found, ""


def _frames(item: Item, fps: float, size: int, channels: int) -> Iterator[np.ndarray]:
    """Frames uint8 [size, size, channels], one for each multiple of 1 / fps seconds. Raises: Unreadable."""
    if isinstance(item, np.ndarray):
        yield from (images.decode(frame, size, channels) for frame in item)
        return
    if isinstance(item, list):
        count = math.ceil(len(item) * fps / FRAME_RATE - 1e-6)
        yield from (images.decode(item[int(k * FRAME_RATE / fps + 1e-6)], size, channels) for k in range(count))
        return
    with opened(item, "video") as stream:
        step = 1 / float(stream.average_rate or FRAME_RATE)
        begin, shown = None, None
        now, due = -step, 0
        for frame in decoded(stream):
            now = now + step if frame.time is None else frame.time
            begin = now if begin is None else begin
            while shown is not None and due / fps < now - begin - 1e-6:  # the one before is shown until now
                yield shown
                due += 1
            shown = _square(frame, size, channels)
        while begin is not None and shown is not None and due / fps < now - begin + step - 1e-6:
            yield shown
            due += 1


def each_frame(item: Item, side: int | None = None) -> Iterator[np.ndarray]:
    """Every frame of a video, uint8 [h, w, 3], not cropped: its shorter side is `side` pixels, or what it is.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(item, list):
        yield from (_scaled(images.whole(frame), side) for frame in item)
        return
    with opened(item, "video") as stream:
        for frame in decoded(stream):
            yield _scaled(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)), side)


def frame_rate(item: Item) -> Fraction:
    """Frames a second of a video, as it says; 24 of a folder of frames. Raises: Unreadable."""
    if isinstance(item, list):
        return Fraction(FRAME_RATE)
    with opened(item, "video") as stream:
        return stream.average_rate or Fraction(FRAME_RATE)


def _scaled(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """Pixels uint8 [h, w, 1 or 3] -> [h', w', 3], their shorter side `side` pixels."""
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    scale = 1 if side is None else side / min(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return np.array(image.resize((width, height), Image.Resampling.LANCZOS))


@contextlib.contextmanager
def opened(item: Item, kind: str) -> Iterator[Any]:
    """The first stream of a file that is of `kind`: "video" or "audio". Raises: Unreadable."""
    import av

    item = item() if callable(item) else item
    if isinstance(item, bytes) and not item:
        raise Unreadable("empty file")
    if isinstance(item, str) and os.path.isdir(item):
        raise Unreadable("no file")
    try:
        container = av.open(io.BytesIO(item) if isinstance(item, bytes) else item)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(_reason(item, error)) from error
    with container:
        streams: Any = container.streams.video if kind == "video" else container.streams.audio
        if not streams:
            raise Unreadable("it has no picture" if kind == "video" else "it has no sound track")
        streams[0].codec_context.thread_count = 1  # the files are decoded side by side
        yield streams[0]


def decoded(stream: Any) -> Iterator[Any]:
    """The frames of a stream. Raises: Unreadable, where it breaks off."""
    import av

    try:
        yield from stream.container.decode(stream)
    except (av.FFmpegError, ValueError) as error:
        raise Unreadable(_reason(None, error)) from error


def _square(frame: Any, size: int, channels: int) -> np.ndarray:
    scale = size / min(frame.width, frame.height)
    width, height = (max(size, round(side * scale)) for side in (frame.width, frame.height))
    kind = "gray" if channels == 1 else "rgb24"
    pixels = frame.reformat(width, height, kind, interpolation="AREA" if scale < 1 else "BICUBIC").to_ndarray()
    left, upper = (width - size) // 2, (height - size) // 2
    pixels = pixels.reshape(height, width, channels)[upper : upper + size, left : left + size]
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _short_side(item: Item) -> int:
    if isinstance(item, list):
        return images.short_side(item[0])
    with opened(item, "video") as stream:
        return min(stream.width, stream.height)


def _called(item: Item) -> str:
    return item if isinstance(item, str) else item[0] if isinstance(item, list) else "A video"


def _reason(item: Item | None, error: Exception) -> str:
    import av

    if lacking := nothing_in(item, error):
        return lacking
    if isinstance(error, EOFError):
        return "it ends before its first frame"
    if isinstance(error, av.InvalidDataError):
        return "it cannot be decoded" if item is None else "no known format"
    return (getattr(error, "strerror", None) or str(error)).strip().rstrip(".") or type(error).__name__
