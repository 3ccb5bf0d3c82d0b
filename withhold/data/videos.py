"""Decoding of videos, from files or folders of frames, to uint8 frames of a given size and rate."""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from withhold.data import images, media
from withhold.data.images import Pictures
from withhold.data.kind import Item, Shape, Unreadable
from withhold.errors import UsageError

DECODER = 2  # part of every cache key: raise it when the frames that come out of `decode` change
FRAME_RATE = 24.0
"""The assumed frames per second of a folder of frames."""
LEAP = 10.0
"""Longer gaps between two frames, in seconds, are treated as errors of the clock."""
SLACK = 100_000
"""A search in a file has failed if it ends later than wanted by more than this, in microseconds."""
FAR = 4
"""The number of first frames that are checked for colour, before the one in the middle."""

log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Videos(Pictures):
    """Videos as frames uint8 [t, size, size, channels], read in windows of `frames`.

    Args:
        size: height and width in pixels; None takes `default_size` of the median shorter side.
        channels: 1 or 3; None takes 1 if all videos are grey.
        fps: decoded frames per second; frames of a slower video are repeated.
        frames: length of a window.
    """

    fps: float = 8.0
    frames: int = 16

    name = noun = "video"
    endings = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".gif", ".wmv", ".flv", ".3gp",
               ".ts", ".ogv")  # fmt: skip
    columns = ("video", "clip", "image", "picture", "path", "file", "filename", "file_name", "video_path", "bytes",
               "mp4", "name")  # fmt: skip
    at_once = 8

    def __post_init__(self):
        super().__post_init__()
        if self.fps <= 0 or self.frames < 1:
            said = f"frames={self.frames} and fps={self.fps}"
            raise UsageError(f"Windows of videos cannot have {said}. Give more than 0 for both.")

    @property
    def window(self):
        return self.frames

    @property
    def key(self):
        return f"video {self.size} {self.channels} {self.fps} {DECODER}"

    @property
    def rows_a_second(self):
        return self.fps

    def measure(self, item):
        if isinstance(item, np.ndarray):
            return Shape(min(item.shape[1:3]), item.shape[3])
        first = islice(_frames(item, FRAME_RATE, 32, 3), FAR)
        grey = all(map(_is_grey, first))
        with contextlib.suppress(Unreadable):
            grey = grey and _is_grey(images.decode(middle(item), 32, 3))  # a video may begin in black
        if isinstance(item, list):
            return Shape(images.short_side(item[0]), 1 if grey else 3)
        with media.stream(item, "video") as stream:
            return Shape(round(min(stream.width * _stretch(stream), stream.height)), 1 if grey else 3)

    def decode(self, item):
        return decode(item, self.size, self.channels, self.fps)


def _is_grey(pixels: np.ndarray) -> bool:
    return bool(np.ptp(pixels.astype(np.int16), axis=2).max() <= 8)  # chroma is rounded


def decode(item: Item, size: int, channels: int, fps: float) -> np.ndarray:
    """A video -> uint8 [t, size, size, channels]: the frame that is shown at each multiple of 1 / fps seconds.

    Each frame is scaled and cropped like an image: the shorter side to `size`, the centre square kept. It is rotated,
    mirrored and stretched as in a player. A folder of frames has 24 frames per second; the frames of an array
    [t, h, w, c] are used as they are. A frame that cannot be read is replaced by the one before. Raises: Unreadable.
    """
    found = list(media.bounded(_frames(item, fps, size, channels)))
    if not found:
        raise Unreadable("no frame")
    return np.stack(found)


def _frames(item: Item, fps: float, size: int, channels: int) -> Iterator[np.ndarray]:
    """Frames uint8 [size, size, channels], one for each multiple of 1 / fps seconds. Raises: Unreadable."""
    if isinstance(item, np.ndarray):
        yield from (images.decode(frame, size, channels) for frame in item)
        return
    if isinstance(item, list):
        count = math.ceil(len(item) * fps / FRAME_RATE - 1e-6)
        names = (item[int(k * FRAME_RATE / fps + 1e-6)] for k in range(count))
        yield from _each_image(names, lambda name: images.decode(name, size, channels))
        return
    with media.stream(item, "video") as stream:
        due = 0
        for frame, end in _timed(stream):
            pixels = None
            while due / fps < end - 1e-6:
                pixels = _square(frame, stream, size, channels) if pixels is None else pixels
                yield pixels
                due += 1


def _timed(stream: Any) -> Iterator[tuple[Any, float]]:
    """Yield each frame of a stream, and the time at which the next one replaces it, in seconds after the first frame.

    If the clock of a file jumps back or far ahead, as in concatenated files, the usual distance of frames is used.
    """
    step = min(1 / float(stream.average_rate or FRAME_RATE), LEAP)
    rounding = min(float(stream.time_base) / 2, 5e-4)  # of time stamps, which are in milliseconds in Matroska
    usual, now, end, shown = step, 0.0, -rounding, None
    for frame in media.decoded(stream):
        before, time = now, media.time_of(frame)
        now = before + step if time is None else time
        if shown is not None:
            if 0 <= now - before <= LEAP:
                usual = now - before or usual
                end += now - before
            else:
                end += usual
            yield shown, end
        shown = frame
    if shown is not None:
        yield shown, end + min(step, usual)


def _each_image(names: Iterable[str], read: Callable[[str], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the images of a folder; unreadable ones are replaced by the one before. Raises: Unreadable: the first."""
    pixels = None
    for name in names:
        try:
            pixels = read(name)
        except Unreadable as error:
            if pixels is None:
                raise
            log.warning("%s cannot be read (%s); it is replaced by the frame before", name, error)
        yield pixels


def each_frame(item: Item, side: int | None = None) -> Iterator[np.ndarray]:
    """Yield the whole frames of a video, uint8 [h, w, 3], with a shorter side of `side` pixels. Raises: Unreadable."""
    if isinstance(item, np.ndarray):
        yield from (_scaled(frame, side) for frame in item)
        return
    if isinstance(item, list):
        yield from _each_image(item, lambda name: _scaled(images.whole(name), side))
        return
    with media.stream(item, "video") as stream:
        for frame in media.decoded(stream):
            yield _scaled(picture(frame, stream), side)


def middle(item: Item, time: float | None = None) -> Item:
    """Return the frame in the middle of a video, or at `time` in seconds; the image may be undecoded.

    It is the last frame if the video ends before. Raises: Unreadable.
    """
    import av

    if isinstance(item, list | np.ndarray):
        place = len(item) // 2 if time is None else int(time * FRAME_RATE)
        return item[min(place, len(item) - 1)]
    for seeking in (True, False):  # from the start if the file cannot be searched, or nothing after the middle be read
        with media.stream(item, "video") as stream:
            container, first, frame = stream.container, None, None
            begin = container.start_time or 0
            wanted = begin + ((container.duration or 0) // 2 if time is None else round(time * av.time_base))
            if seeking:
                with contextlib.suppress(av.FFmpegError):
                    container.seek(wanted)
            with contextlib.suppress(Unreadable):
                for frame in media.decoded(stream):
                    now = media.time_of(frame)
                    first = now if first is None else first
                    if now is None or now * av.time_base >= wanted:
                        break
            late = seeking and first is not None and first * av.time_base > wanted + SLACK  # as in MPEG-TS
            if frame is not None and not late:
                return picture(frame, stream)
    raise Unreadable("no frame")


def frame_rate(item: Item) -> Fraction:
    """The frames per second of a video, by its header; 24 for a folder of frames. Raises: Unreadable."""
    if isinstance(item, list | np.ndarray):
        return Fraction(FRAME_RATE)
    with media.stream(item, "video") as stream:
        return stream.average_rate or Fraction(FRAME_RATE)


def encode(frames: Iterable[np.ndarray], rate: Fraction, file: Any) -> None:
    """Write frames uint8 [h, w, 3] to a file, given by name or open, as MP4 with H.264.

    An odd last row or column is dropped.
    """
    import av

    with av.open(os.fspath(file) if isinstance(file, os.PathLike) else file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        for number, frame in enumerate(frames):
            even = np.ascontiguousarray(frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2])
            if not number:
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())


def picture(frame: Any, stream: Any) -> np.ndarray:
    """Convert a frame to pixels uint8 [h, w, 3], as in a player. Raises: Unreadable: too many pixels."""
    width, height = max(1, round(frame.width * _stretch(stream))), frame.height
    return _upright(_pixels(frame, width, height, "rgb24"), frame)


def _square(frame: Any, stream: Any, size: int, channels: int) -> np.ndarray:
    shown = frame.width * _stretch(stream), frame.height
    scale = size / min(shown)
    width, height = (max(size, round(side * scale)) for side in shown)
    pixels = _pixels(frame, width, height, "gray" if channels == 1 else "rgb24", "AREA" if scale < 1 else "BICUBIC")
    left, upper = (width - size) // 2, (height - size) // 2
    return _upright(pixels.reshape(height, width, channels)[upper : upper + size, left : left + size], frame)


def _pixels(frame: Any, width: int, height: int, form: str, interpolation: str | None = None) -> np.ndarray:
    if width * height > media.MOST_PIXELS:
        raise Unreadable(f"too many pixels: {width} x {height}")
    return frame.reformat(width, height, form, interpolation=interpolation).to_ndarray()


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Rotate and mirror pixels [h, w, c] by the matrix [a b u, c d v, ...]: (x, y) to (a x + c y, b x + d y)."""
    try:
        a, b, _, c, d = np.frombuffer(frame.side_data["DISPLAYMATRIX"], np.int32)[:5].tolist()
    except (KeyError, ValueError):  # there is no matrix, or PyAV does not know other side data
        return np.ascontiguousarray(pixels)
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _stretch(stream: Any) -> float:
    """The aspect ratio of a pixel, width divided by height."""
    return float(stream.sample_aspect_ratio or 1)


def _scaled(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """Pixels uint8 [h, w, 1 or 3] -> [h', w', 3], with a shorter side of `side` pixels."""
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    scale = 1 if side is None else side / min(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return np.array(image.resize((width, height), Image.Resampling.LANCZOS))
