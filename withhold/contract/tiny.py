"""Tiny datasets of every kind, in two separable classes, on which methods are checked."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from withhold import data
from withhold.data import Samples, Series
from withhold.data.tables import Lines
from withhold.data.targets import Target
from withhold.data.texts import load_tokenizer, train_tokenizer
from withhold.errors import UsageError
from withhold.needs import Need
from withhold.orders import Episodes, Shuffled

CLASSES = ("0", "1")
RATE, ITEMS = 4000, 128
WINDOWS: dict[str, Any] = {"frames": 8, "fps": 8.0, "seconds": 1.0, "tokens": 32, "tokenizer": "words"}
"""Window lengths for methods that have no such parameter."""
TOPICS = (
    ["the ship sails the sea ", " a sailor mends the sail ", " the wind moves the ship over the deep sea ", ""],
    ["the baker bakes bread ", " a cook eats warm bread ", " the oven heats the baker and the soft bread ", ""],
)


def stream(
    need: Need, parameters: dict[str, Any], size: int, channels: int, kind: str = "", order: Shuffled | None = None
) -> Samples:
    """Tiny data for a stream, in windows of the length that the method's parameters set.

    Args:
        kind: the kind of data, if the stream accepts several; by default the first.
        order: the order of its samples; for episodes, samples get as many classes as an episode has ways, by the mean
            of their absolute values.

    Raises:
        UsageError: there is no tiny data of this kind.
    """
    held = WINDOWS | parameters
    kinds = (kind or need.kinds[0], *need.beside)
    shown = held["frames"] / held["fps"] if "video" in kinds else 0.0  # minimum seconds of a sound that goes with it
    makers: dict[str, Callable[[], Samples]] = {
        "image": lambda: photographs(size, channels),
        "video": lambda: videos(held["frames"], held["fps"], size, channels),
        "audio": lambda: sounds(held["seconds"], shown),
        "text": lambda: texts(held["tokenizer"], held["tokens"]),
    }
    if set(kinds) - set(makers):
        raise UsageError(f"There is no tiny data for {need}. Give your own: --data SOURCE for each stream.")
    first, *beside = (makers[kind]() for kind in kinds)
    if set(need.parts) - {"label", "number"}:
        first = _with_parts(first, size)
    if isinstance(order, Episodes):
        values = [np.abs(first.read(np.array([row])).astype(float)).mean() for row in range(len(first))]
        labels = np.argsort(np.argsort(values)) * order.ways // len(values)
        first = first.with_labels(labels, tuple(map(str, range(order.ways))))
    return data.Joined(*(part.select(range(ITEMS)) for part in (first, *beside))) if beside else first


def _with_parts(samples: Samples, size: int) -> Samples:
    """The same samples with a mask, boxes, a camera pose [3, 4], a domain and targets.

    They are derived from the lightness and the number of the photograph with the same index.
    """
    count = len(samples)
    light = photographs(size).read(np.arange(count)).mean(-1, dtype=np.float32) / 255
    mask = (light > light.mean((1, 2), keepdims=True)).astype(np.uint8)[..., None]
    corner = np.stack([light.argmax(2).max(1), light.argmax(1).max(1)], axis=1) // 2
    numbers = np.stack([np.arange(count) % 2, np.zeros(count, dtype=int)], axis=1)
    boxes = np.concatenate([corner, corner + size // 2, numbers], axis=1)[:, None].repeat(2, axis=1).astype(np.float32)
    boxes[::2, 1] = np.nan  # every other item has only one
    cameras = np.tile(np.eye(3, 4, dtype=np.float32), (count, 1, 1))
    cameras[:, :, 3] = light.mean(1)[:, :: size // 2 - 1][:, :3]
    parts = {
        "mask": Samples(mask, np.arange(count).astype(str), classes=CLASSES),
        "boxes": Target(boxes, CLASSES),
        "poses": Target(cameras.reshape(count, -1)),
        "domain": Target(np.arange(count) // 2 % 2),
        "targets": {"photograph": Target(np.arange(count) % 2, CLASSES), "lightness": Target(light.mean((1, 2)))},
    }
    return samples._with(parts=parts)


@functools.cache
def photographs(size: int = 32, channels: int = 3) -> Samples:
    """256 crops of scikit-learn's two photographs, labelled with the photograph that they come from."""
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
    """Photographs that move to the right (class 0) or to the left (class 1) at a varying speed; of two lengths."""
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


def documents() -> list[str]:
    """Texts of random sentences about the sea (class 0) or about bread (class 1)."""
    rng = np.random.default_rng(0)
    return [" . ".join(rng.choice(TOPICS[item % 2], 6)) + " ." for item in range(ITEMS)]


@functools.cache
def folder() -> tempfile.TemporaryDirectory:
    """A folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory()


@functools.cache
def tokenizer(name: str) -> str:
    """The path of a tokenizer trained on the documents."""
    path = Path(folder().name) / f"{name.replace(':', '-')}.json"
    train_tokenizer(Lines(documents()), name, "the documents").save(str(path))
    return str(path)


@functools.cache
def texts(name: str, tokens: int) -> Series:
    """The documents as token ids."""
    coder = load_tokenizer(tokenizer(name))
    items = [np.array(coder.encode(text, add_special_tokens=False).ids, dtype=np.int32) for text in documents()]
    return _series(items, tokens, "text", 1.0)


def _series(items: list[np.ndarray], window: int, kind: str, rate: float) -> Series:
    ends = np.cumsum([len(item) for item in items])
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    rows = np.arange(len(items))
    about: dict[str, Any] = {"names": rows.astype(str), "labels": rows % 2, "classes": CLASSES}
    return Series(np.concatenate(items), spans, window, kind, rate, rows, **about, stamp=kind, source=kind)
