"""One sound, from a sound file or the sound track of a video to int16 samples of the wanted rate."""

import io
import logging
import wave
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from withhold.data.kind import Item, Kind, Shape, Unreadable
from withhold.data.videos import Videos, decoded, opened
from withhold.errors import UsageError

DECODER = 2  # part of every cache key: raise it when the samples that come out of `decode` change
MOST_RATE = 16_000
"""Samples a second that are kept of a sound that has more, by default."""

log = logging.getLogger("withhold")


@dataclass(frozen=True)
class Sounds(Kind):
    """Sounds as samples int16 [s], seen through windows of `seconds`.

    Args:
        rate: samples a second; None takes what the sounds have, 16,000 at most.
        seconds: in a window.
    """

    rate: int | None = None
    seconds: float = 1.0

    name, noun = "audio", "sound"
    endings = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", *Videos.endings)
    columns = ("audio", "sound", "speech", "path", "file", "filename", "file_name", "audio_path", "bytes", "wav",
               "video", "clip", "name")  # fmt: skip

    def __post_init__(self):
        if self.rate is not None and self.rate < 1:
            raise UsageError(f"Sounds cannot have {self.rate} samples a second: give a rate of 1 or more.")
        if self.seconds <= 0:
            raise UsageError(f"Sounds cannot be seen {self.seconds} seconds at a time: give more than 0.")

    @property
    def window(self):
        assert self.rate is not None
        return max(1, round(self.seconds * self.rate))

    @property
    def key(self):
        return f"audio {self.rate} {DECODER}"

    @property
    def at_once(self):
        return 64

    @property
    def rows_a_second(self):
        return float(self.rate)

    def measure(self, item):
        with opened(item, "audio") as stream:
            return {"rate": stream.rate}

    def shape(self, table, where):
        return Shape(rate=int(np.median([sound["rate"] for sound in self.probe(table, where)])))

    def suited(self, shape):
        return replace(self, rate=self.rate or min(shape.rate, MOST_RATE))

    def decode(self, item):
        return decode(item, self.rate)


def decode(item: Item, rate: int) -> np.ndarray:
    """A sound -> int16 [s], its channels averaged, resampled to `rate` samples a second.

    A sound track begins when its pictures do: what comes before is left out, what lacks is silence. Of a sound that
    breaks off, what comes before is kept.

    Raises:
        Unreadable: with the reason; silence throughout is one.
    """
    import av

    found: list[Any] = []
    late = 0.0
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    try:
        with opened(item, "audio") as stream:
            for frame in decoded(stream):
                if not found:
                    late = (frame.time or 0.0) - _pictures_begin(stream) if stream.container.streams.video else 0.0
                frame.pts = None  # gaps in time stamps are no silence
                found += resampler.resample(frame)
    except Unreadable as error:
        if not found:
            raise
        log.warning("%s breaks off (%s); what is before is kept", item if isinstance(item, str) else "A sound", error)
    if found:
        found += resampler.resample(None)
    samples = np.concatenate([frame.to_ndarray()[0] for frame in found]) if found else np.zeros(0, np.int16)
    shift = round(late * rate)
    if abs(shift) < len(samples):  # more cannot be meant
        samples = np.concatenate([np.zeros(max(0, shift), np.int16), samples[max(0, -shift) :]])
    if not len(samples):
        raise Unreadable("no sound in it")
    if not samples.any():
        raise Unreadable("silence")
    return samples


def encode(samples: np.ndarray, rate: int) -> bytes:
    """Samples int16 [s], `rate` a second -> a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _pictures_begin(stream: Any) -> float:
    """When the pictures beside a sound track begin, in seconds of its file's time."""
    pictures = stream.container.streams.video[0]
    return float((pictures.start_time or 0) * pictures.time_base)
