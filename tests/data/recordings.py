"""Sounds and videos with known content, written by tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def tone(hertz, seconds, rate, level=0.5):
    """A sine, float [s]."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_sound(path, samples, rate, codec="pcm_s16le"):
    """Samples float in [-1, 1], [s] or [channels, s], into a file of any codec that PyAV can write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        mux_sound(container, container.add_stream(codec, rate=rate, layout=_layout(samples)), samples)
    return path


def write_video(path, frames, fps, samples=None, rate=8000, delay=0.0):
    """Frames uint8 [t, h, w, 3] and, if any, their sound, float [s], which begins `delay` seconds later."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("ffv1", rate=fps)
        pictures.height, pictures.width, pictures.pix_fmt = *frames.shape[1:3], "bgr0"
        sound = None if samples is None else container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode(None))
        if sound is not None:
            mux_sound(container, sound, samples, round(delay * rate))
    return path


def damage_packet(path, number):
    """The same file, where packet `number` of its first stream holds nothing but zeros."""
    with av.open(str(path)) as container:
        packet = bytes(list(container.demux(container.streams[0]))[number])
    path.write_bytes(path.read_bytes().replace(packet, bytes(len(packet))))
    return path


def mux_sound(container, stream, samples, begin=0):
    planes = np.atleast_2d(samples)
    values = np.ascontiguousarray(np.rint(planes * 32767).astype(np.int16).T.reshape(1, -1))
    frame = av.AudioFrame.from_ndarray(values, format="s16", layout=_layout(samples))
    frame.sample_rate, frame.time_base, frame.pts = stream.rate, Fraction(1, stream.rate), begin
    resampler = av.AudioResampler(format=stream.format, layout=_layout(samples), rate=stream.rate, frame_size=1024)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def _layout(samples):
    return "stereo" if np.ndim(samples) == 2 else "mono"
