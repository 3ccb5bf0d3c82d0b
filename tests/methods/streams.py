"""Tiny data of every kind, in two classes that can be told apart: what the contract's methods learn from."""

import functools
import tempfile
from pathlib import Path

import numpy as np

from withhold import data
from withhold.data.tables import Lines
from withhold.data.texts import load_tokenizer, train_tokenizer
from withhold.methods import find, parameters

CLASSES = ("0", "1")
RATE, ITEMS = 4000, 128
TOPICS = (
    ["the ship sails the sea ", " a sailor mends the sail ", " the wind moves the ship over the deep sea ", ""],
    ["the baker bakes bread ", " a cook eats warm bread ", " the oven heats the baker and the soft bread ", ""],
)


def streams(name, photo_samples):
    """The streams of a method, {stream: samples}, in windows of the length that it asks for."""
    held = {n: p.default for n, p in parameters(find(name)).items()}
    return {stream: _tiny(need.kind(), photo_samples, held) for stream, need in find(name).needs.items()}


def decoding(name):
    """How the streams of a method are decoded, as a run's configuration says."""
    held = {n: p.default for n, p in parameters(find(name)).items()}
    known = {"size": 32, "channels": 3, "rate": RATE}
    return (
        known
        | ({"tokenizer": tokenizer(held["tokenizer"])} if "tokenizer" in held else {})
        | {field: held[field] for field in ("frames", "fps", "seconds", "tokens") if field in held}
    )


def _tiny(kind, photo_samples, held):
    if kind == "image":
        return photo_samples
    if kind == "video":
        return videos(photo_samples, held["frames"], held["fps"])
    if kind == "audio":
        return sounds(held["seconds"])
    if kind == "text":
        return texts(held["tokenizer"], held["tokens"])
    return data.Joined(
        videos(photo_samples, held["frames"], held["fps"]), sounds(held["seconds"], held["frames"] / held["fps"])
    )


def _series(items, window, kind, rate):
    ends = np.cumsum([len(item) for item in items])
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    rows = np.arange(len(items))
    about = {"names": rows.astype(str), "labels": rows % 2, "classes": CLASSES, "fingerprint": kind, "source": kind}
    return data.Series(np.concatenate(items), spans, window, kind, rate, rows, **about)


def videos(photo_samples, frames, fps):
    """Photographs that move, faster and faster, to the right (class 0) or the left (class 1); of two lengths."""
    items = []
    for item, photo in enumerate(photo_samples.read(np.arange(ITEMS))):
        steps = np.cumsum(np.arange(frames + 4 * (item % 3 == 0)) % 3 + 1) * (1 - 2 * (item % 2))
        items.append(np.stack([np.roll(photo, step, axis=1) for step in steps]))
    return _series(items, frames, "video", fps)


def sounds(seconds, least=0.0):
    """Noisy tones, low (class 0) or high (class 1)."""
    rng = np.random.default_rng(0)
    items = []
    for item in range(ITEMS):
        time = np.arange(round(RATE * max(seconds, least) * (1 + (item % 3 == 0)))) / RATE
        wave = np.sin(2 * np.pi * (200 + 800 * (item % 2) + rng.uniform(-50, 50)) * time) + 0.1 * rng.standard_normal(
            len(time)
        )
        items.append(np.clip(8000 * wave, -32768, 32767).astype(np.int16))
    return _series(items, round(seconds * RATE), "audio", RATE)


def documents():
    """Sentences on the sea (class 0) and on bread (class 1), in random order."""
    rng = np.random.default_rng(0)
    return [" . ".join(rng.choice(TOPICS[item % 2], 6)) + " ." for item in range(ITEMS)]


@functools.cache
def tokenizer(name):
    """The path of a tokenizer that has learned the documents' words."""
    path = Path(tempfile.mkdtemp()) / "tokenizer.json"
    train_tokenizer(Lines(documents()), name, "the documents").save(str(path))
    return str(path)


def texts(name, tokens):
    coder = load_tokenizer(tokenizer(name))
    items = [np.array(coder.encode(text, add_special_tokens=False).ids, dtype=np.int32) for text in documents()]
    return _series(items, tokens, "text", 1.0)
