"""Tiny data of every kind, in two classes that can be told apart: what a method is checked on."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from withhold import data
from withhold.data import Joined, Samples, Series, Target
from withhold.data.tables import Lines
from withhold.data.texts import load_tokenizer, train_tokenizer
from withhold.errors import UsageError
from withhold.needs import Need
from withhold.orders import Episodes, Shuffled

CLASSES = ("0", "1")
RATE, ITEMS = 4000, 128
WINDOWS: dict[str, Any] = {"frames": 8, "fps": 8.0, "seconds": 1.0, "tokens": 32, "tokenizer": "words"}
"""How long windows are for a method that does not say."""
TOPICS = (
    ["the ship sails the sea ", " a sailor mends the sail ", " the wind moves the ship over the deep sea ", ""],
    ["the baker bakes bread ", " a cook eats warm bread ", " the oven heats the baker and the soft bread ", ""],
)


def stream(
    need: Need, kind: str, parameters: dict[str, Any], size: int, channels: int, order: Shuffled | None = None
) -> Samples:
    """What a stream holds, in windows of the length that the method's parameters say.

    Args:
        kind: of those that the stream may hold.
        order: that of its items; episodes get as many classes as they have ways.

    Raises:
        UsageError: there are no tiny data of what it holds.
    """
    held = WINDOWS | parameters
    pixels = {"size": size, "channels": channels}
    names = kind.split(" + ")
    makers = {
        "image": lambda: photographs(**pixels),
        "video": lambda: videos(held["frames"], held["fps"], **pixels),
        "audio": lambda: sounds(held["seconds"], held["frames"] / held["fps"] if "video" in names else 0.0),
        "text": lambda: texts(held["tokenizer"], held["tokens"]),
        "second text": lambda: texts(held["tokenizer"], held["tokens"], backwards=True),
    }
    names = [f"second {name}" if name in names[:place] else name for place, name in enumerate(names)]
    try:
        members = [makers[name]() for name in names]
        rows = range(min(map(len, members)))
        first, *others = (member.select(rows) for member in members)
        first.parts = {part: _part(first, part) for part in need.parts if part not in ("label", "number")}
    except KeyError:
        raise UsageError(f"There are no tiny data of {need}: give some, as --data SOURCE for each stream.") from None
    if isinstance(order, Episodes):  # which need more classes: by brightness, loudness ...
        first = first.with_labels(
            np.argsort(np.argsort(_levels(first))) * order.ways // len(first), tuple(map(str, range(order.ways)))
        )
    return Joined(first, *others) if others else first


def _levels(samples: Samples) -> np.ndarray:
    """How bright, loud ... each item is, beside the others: float [n], standardised."""
    means = np.array([np.abs(samples.read(np.array([row])).astype(float)).mean() for row in range(len(samples))])
    return (means - means.mean()) / means.std()


def _part(samples: Samples, name: str) -> Any:
    """What can be learned of each item beside its class.

    Columns of classes and of numbers; a camera [3, 4] that stands further to the right, the brighter it is; halves as
    domains. Of images, which pixels are bright, and a square around the brightest one, which every second image lacks.

    Raises:
        KeyError: there is no such part of this kind.
    """
    rows = np.arange(len(samples))
    if name == "targets":
        return {"class": Target(rows % 2, CLASSES), "level": Target(_levels(samples).astype(np.float32))}
    if name == "domain":
        return Target(2 * rows // len(rows))
    if name == "poses":
        cameras = np.tile(np.eye(3, 4, dtype=np.float32), (len(rows), 1, 1))
        cameras[:, 0, 3] = _levels(samples)
        return Target(cameras.reshape(-1, 12))
    if samples.kind != "image":
        raise KeyError(name)
    light, size = samples.array.mean(3), samples.shape[0]
    if name == "mask":
        return Samples((light > 128)[..., None].astype(np.uint8), rows.astype(str))
    y, x = np.divmod(light.reshape(len(rows), -1).argmax(1), size)
    boxes = np.stack([x - size / 4, y - size / 4, x + size / 4, y + size / 4], 1).clip(0, size)[:, None]
    boxes[rows % 2 == 1] = np.nan
    return Target(boxes.astype(np.float32))


@functools.cache
def photographs(size: int = 32, channels: int = 3) -> Samples:
    """256 crops of scikit-learn's two photographs, labelled with the photograph that they are from."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    pictures = load_sample_images().images
    extent = 3 * size
    crops = []
    for item in range(256):
        picture = pictures[item % 2]
        y, x = (rng.integers(0, length - extent) for length in picture.shape[:2])
        crops.append(picture[y : y + extent : 3, x : x + extent : 3, :channels])
    return data.load((np.stack(crops), np.arange(256) % 2), size=size)


@functools.cache
def videos(frames: int, fps: float, size: int = 32, channels: int = 3) -> Series:
    """Photographs that move, faster and faster, to the right (class 0) or the left (class 1); of two lengths."""
    items = []
    for item, photo in enumerate(photographs(size, channels).read(np.arange(ITEMS))):
        steps = np.cumsum(np.arange(frames + 4 * (item % 3 == 0)) % 3 + 1) * (1 - 2 * (item % 2))
        items.append(np.stack([np.roll(photo, step, axis=1) for step in steps]))
    return _series(items, frames, "video", fps)


@functools.cache
def sounds(seconds: float, least: float = 0.0) -> Series:
    """Noisy tones, low (class 0) or high (class 1)."""
    rng = np.random.default_rng(0)
    items = []
    for item in range(ITEMS):
        time = np.arange(round(RATE * max(seconds, least) * (1 + (item % 3 == 0)))) / RATE
        pitch = 200 + 800 * (item % 2) + rng.uniform(-50, 50)
        wave = np.sin(2 * np.pi * pitch * time) + 0.1 * rng.standard_normal(len(time))
        items.append(np.clip(8000 * wave, -32768, 32767).astype(np.int16))
    return _series(items, round(seconds * RATE), "audio", RATE)


def documents(backwards: bool = False) -> list[str]:
    """Sentences on the sea (class 0) and on bread (class 1), in random order; word for word, or backwards."""
    rng = np.random.default_rng(0)
    found = [" . ".join(rng.choice(TOPICS[item % 2], 6)) + " ." for item in range(ITEMS)]
    return [" ".join(text.split()[::-1]) for text in found] if backwards else found


@functools.cache
def folder() -> tempfile.TemporaryDirectory:
    """A folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory()


@functools.cache
def tokenizer(name: str) -> str:
    """The path of a tokenizer that has learned the documents' words."""
    path = Path(folder().name) / f"{name.replace(':', '-')}.json"
    train_tokenizer(Lines(documents()), name, "the documents").save(str(path))
    return str(path)


@functools.cache
def texts(name: str, tokens: int, backwards: bool = False) -> Series:
    """The documents as the numbers of their tokens."""
    coder = load_tokenizer(tokenizer(name))
    items = [
        np.array(coder.encode(text, add_special_tokens=False).ids, dtype=np.int32) for text in documents(backwards)
    ]
    return _series(items, tokens, "text", 1.0)


def _series(items: list[np.ndarray], window: int, kind: str, rate: float) -> Series:
    ends = np.cumsum([len(item) for item in items])
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    rows = np.arange(len(items))
    about: dict[str, Any] = {"names": rows.astype(str), "labels": rows % 2, "classes": CLASSES}
    return Series(np.concatenate(items), spans, window, kind, rate, rows, **about, fingerprint=kind, source=kind)
