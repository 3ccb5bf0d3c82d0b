"""Decoding of sounds, from sound files or the sound tracks of videos, to int16 samples of a given rate."""

import contextlib
import io
import itertools
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from withhold.data import media
from withhold.data.kind import Item, Kind, Shape, Unreadable
from withhold.data.videos import Videos
from withhold.errors import UsageError

DECODER = 3  # part of every cache key: raise it when the samples that come out of `decode` change
MOST_RATE = 16_000
"""The largest default rate, in samples per second."""
LEAD = 1.0
"""Seconds that are decoded before an excerpt, because decoders depend on earlier data."""
BLOCK = 4096
"""The largest block of samples of an encoder."""


@dataclass(frozen=True)
class Sounds(Kind):
    """Sounds as samples int16 [s], read in windows of `seconds`.

    Args:
        rate: samples per second; None takes that of the sounds, at most 16,000.
        seconds: length of a window.
    """

    rate: int | None = None
    seconds: float = 1.0

    name, noun = "audio", "sound"
    endings = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".amr",
               *(ending for ending in Videos.endings if ending != ".gif"))  # fmt: skip
    columns = ("audio", "sound", "speech", "path", "file", "filename", "file_name", "audio_path", "bytes", "wav",
               "video", "clip", "name")  # fmt: skip
    at_once = 64

    def __post_init__(self):
        if self.rate is not None and self.rate < 1:
            raise UsageError(f"Sounds cannot have {self.rate} samples per second. Give a rate of 1 or more.")
        if self.seconds <= 0:
            raise UsageError(f"Windows of sounds cannot have {self.seconds} seconds. Give more than 0.")

    @property
    def window(self):
        assert self.rate is not None
        return max(1, round(self.seconds * self.rate))

    @property
    def key(self):
        return f"audio {self.rate} {DECODER}"

    @property
    def rows_a_second(self):
        return float(self.rate)

    def measure(self, item):
        with media.stream(item, "audio") as stream:
            return Shape(rate=stream.rate)

    def suited(self, shape):
        return replace(self, rate=self.rate or min(shape.rate, MOST_RATE))

    def decode(self, item):
        return decode(item, self.rate)


def decode(item: Item, rate: int) -> np.ndarray:
    """A sound -> int16 [s], the mean of its channels, resampled to `rate` samples per second.

    A sound track is aligned with the beginning of its video: it is cut, or padded with silence. Raises: Unreadable,
    also if there is only silence.
    """
    with media.stream(item, "audio") as stream:
        frames = media.decoded(stream)
        first = next(frames)
        late = _after_pictures(first, stream)
        mixed = media.bounded(_mixed(itertools.chain([first], frames), rate))
        samples = np.concatenate([*mixed, np.zeros(0, np.int16)])
        samples = samples[: len(samples) - round(_padding(stream, len(samples) / rate) * rate)]
    shift = round(late * rate)
    if abs(shift) < len(samples):  # larger shifts are errors in the file
        samples = np.concatenate([np.zeros(max(0, shift), np.int16), samples[max(0, -shift) :]])
    if not len(samples):
        raise Unreadable("no sound in it")
    if not samples.any():
        raise Unreadable("silence")
    return samples


def excerpt(item: Item, rate: int, start: float, end: float) -> np.ndarray:
    """Decode a sound like `decode`, but only between two times in seconds; the rest of a long file is not decoded.

    Raises: Unreadable, also for a time after the end.
    """
    with media.stream(item, "audio") as stream:
        first = next(media.decoded(stream))
        zero = (first.time or 0.0) - _after_pictures(first, stream)
    with media.stream(item, "audio") as stream:
        frames = media.decoded(stream, zero + start - LEAD)
        first = next(frames)
        late = round(((first.time or 0.0) - zero - start) * rate)
        near = itertools.takewhile(lambda frame: (frame.time or 0.0) < zero + end, itertools.chain([first], frames))
        samples = np.concatenate([np.zeros(max(0, late), np.int16), *_mixed(near, rate)])
    samples = samples[max(0, -late) :][: round((end - start) * rate)]
    if not len(samples):
        raise Unreadable("no sound in it")
    return samples


def _mixed(frames: Iterable[Any], rate: int) -> Iterator[np.ndarray]:
    """Frames, whose rate and channels may change -> int16 [s] each: the mean of all channels."""
    from av.filter import Graph

    for form, run in itertools.groupby(frames, lambda frame: (frame.sample_rate, frame.layout, frame.format.name)):
        graph, (own, layout, sample), count = Graph(), form, form[1].nb_channels
        begin = {"sample_rate": str(own), "sample_fmt": sample, "channel_layout": layout.name, "time_base": f"1/{own}"}
        nodes = [graph.add("abuffer", **begin)]
        if count > 1:
            mean = "+".join(f"{1 / count:.9f}*c{channel}" for channel in range(count))
            nodes += [graph.add("aformat", sample_fmts="flt"), graph.add("pan", f"mono|c0={mean}")]
        nodes += [graph.add("aformat", sample_rates=str(rate), sample_fmts="s16", channel_layouts="mono")]
        graph.link_nodes(*nodes, graph.add("abuffersink")).configure()
        for number, frame in enumerate(itertools.chain(run, [None])):
            if frame is not None:
                frame.pts = None  # gaps in time stamps do not mean silence
            graph.push(frame)
            if number % 16 and frame is not None:  # pulling before output is ready costs more than mixing
                continue
            with contextlib.suppress(BlockingIOError, EOFError):  # until it needs more input, or ends
                while True:
                    yield graph.pull().to_ndarray()[0]


def _padding(stream: Any, seconds: float) -> float:
    """Seconds that an encoder added to fill its last block: FFmpeg keeps them in MP4 files."""
    if not stream.container.format.name.startswith("mov") or not stream.duration:
        return 0.0
    more = seconds - float(stream.duration * stream.time_base)
    return more if 0 < more < BLOCK / stream.rate else 0.0


def _after_pictures(frame: Any, stream: Any) -> float:
    """Seconds from the beginning of the video to a frame of its sound track; 0 if there is no video."""
    pictures = media.best(stream.container, "video")
    return (frame.time or 0.0) - float((pictures.start_time or 0) * pictures.time_base) if pictures else 0.0


def encode(samples: np.ndarray, rate: int) -> bytes:
    """Samples int16 [s], `rate` per second -> a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
