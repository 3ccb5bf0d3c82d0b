"""From what a person names to decoded samples, through the cache."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from withhold.data import cache, images, sources
from withhold.data.arrays import Arrays
from withhold.data.images import Unreadable
from withhold.data.labels import attach, number
from withhold.data.samples import Samples
from withhold.data.streaming import Stream
from withhold.data.tables import Parquet, Table
from withhold.errors import UsageError, WithholdError, suggestion

if TYPE_CHECKING:
    import datasets

log = logging.getLogger("withhold")

PROBES = 256
MANY = 10_000
"""Images whose decoding takes long enough to be said."""
CHUNK = 2**26  # bytes of pixels that are decoded before they are written


@dataclass(frozen=True)
class Shape:
    """What a probe saw: how many samples, the median shorter side in pixels, and 1 channel if all are grey, else 3."""

    count: int
    size: int
    channels: int


def default_size(side: int, most: int = 96) -> int:
    """Pixels of square images, from the shorter side that they have: the same, in 32..most.

    In multiples of 4, and of 16 from 128 on, so that a transformer finds patches that fit.
    """
    step = 4 if side <= 128 else 16
    return min(max(32, -(-side // step) * step), most)


def splits(source: Any) -> dict[str, Any]:
    """{"train": ..., "test": ...}, each a source of its own, if `source` holds both; else {}.

    A split of something with a name is the text "NAME::train", which can be typed wherever a source can.
    """
    base, split = _separate(source, None)
    if split is not None or isinstance(base, Samples):
        return {}
    if isinstance(base, dict):  # a DatasetDict
        return sources.pair(base)
    return {split: f"{os.fspath(base)}::{split}" for split in sources.tables(base) if split}


def measure(source: Any, *, split: str | None = None) -> Shape:
    """The shape of a source, from at most 256 of its samples. Raises: WithholdError, if none of them can be read."""
    if isinstance(source, Samples):
        return Shape(len(source), min(source.shape[:2]), source.shape[2])
    found, split, name = _tables(source, split)
    return _probe(found[split], name)


def open(source: Any, *, split: str | None = None) -> "datasets.Dataset":
    """Any source as a Hugging Face Dataset, nothing decoded.

    Columns: image (a struct of encoded bytes or path), name, and label if any (a ClassLabel, null if unlabelled).
    A source that holds splits and is asked for none gives "train".
    """
    from withhold.data import hub

    found, split, _ = _tables(source, split)
    labels, classes = _labels(found, split)
    return hub.as_dataset(found[split], labels, classes, _stamp(found, split))


def address(source: Any) -> str | None:
    """Text that names the source from within any folder; None for what has no name, such as an array."""
    base, split = _separate(source, None)
    if not isinstance(base, str | os.PathLike):
        return None
    text = os.fspath(base)
    if text != "digits" and not text.startswith("hf:"):
        text = os.path.abspath(text)
    return text if split is None else f"{text}::{split}"


def items(source: str | None, names: Sequence[str]) -> list[images.Item | None]:
    """The undecoded samples that are called `names` in `source`; None for each that is not there any more.

    Without a source, names are paths.
    """
    if source is None:
        return list(names)
    try:
        found, split, _ = _tables(source, None)
    except WithholdError:
        return [None] * len(names)
    table = found[split]
    rows = {name: row for row, name in enumerate(table.names())}
    there = [name for name in dict.fromkeys(names) if name in rows]
    known = dict(zip(there, table.images([rows[name] for name in there]), strict=True))
    return [known.get(name) for name in names]


def each_image(source: Any, *, split: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """The name and the pixels, uint8 [c, h, w] at the image's own size, of each sample.

    One that cannot be read is skipped with a warning. Raises: WithholdError, if none of them can be read.
    """
    found, split, where = _tables(source, split)
    table = found[split]
    names, start = table.names(), 0
    skipped = []
    for chunk in table.chunks(16):
        for name, item in zip(names[start : start + 16], chunk, strict=True):
            try:
                pixels = images.whole(item)
            except Unreadable as error:
                log.warning("%s in %s is skipped: %s.", name, where, error)
                skipped.append((name, str(error)))
                continue
            yield name, torch.from_numpy(pixels).permute(2, 0, 1)
        start += len(chunk)
    if len(skipped) == len(table):
        raise _nothing(table, where, skipped)
    if skipped:
        log.warning("Of the %s images in %s, %s could not be read.", f"{len(table):,}", where, f"{len(skipped):,}")


def load(
    source: Any,
    *,
    size: int | None = None,
    channels: int | None = None,
    kind: str = "image",
    strict: bool = False,
    labels: str | os.PathLike | None = None,
    split: str | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Samples:
    """Decoded samples; the first time they are written to the cache, later mapped from it.

    Args:
        source: a folder or zip archive (its sub-folders are the classes if there are several and every image is inside
            one; folders that wrap all of an archive do not count), a csv, jsonl, parquet, npz, IDX or image file,
            "digits", "hf:NAME" (hub or local), any of these with "::train" or "::test" behind it; or an array or tensor
            uint8 [n, h, w], [n, h, w, c] or [n, c, h, w], a pair (images, labels), a list of paths, a datasets.Dataset,
            or Samples (given back as they are).
        size: height and width in pixels; None takes `default_size` of the median shorter side.
        channels: 1 or 3; None takes 1 if all images are grey.
        strict: raise at the first sample that cannot be decoded, instead of skipping and listing it.
        labels: a csv or jsonl file of paths or names and labels, which replace the source's; the rest are unlabelled.
        split: "train" or "test" of a source that holds both; None takes "train" there.
        cache_dir: instead of $WITHHOLD_CACHE or ~/.cache/withhold.

    Raises:
        UsageError, WithholdError: each with a sentence that names the source and the way out.
    """
    if kind != "image":
        raise UsageError(f"There is no kind of data {kind!r}: {suggestion(kind, ['image'])}")
    samples = source if isinstance(source, Samples) else _load(source, split, size, channels, strict, cache_dir)
    if strict and samples.skipped:
        name, reason = samples.skipped[0]
        raise WithholdError(f"{name} in {samples.source} cannot be read: {reason}.")
    return samples if labels is None else attach(samples, Path(labels))


def _load(
    source: Any, split: str | None, size: int | None, channels: int | None, strict: bool, cache_dir: Any
) -> Samples:
    if size is not None and size < 1:
        raise UsageError(f"Images cannot be {size} pixels wide: give a size of 1 or more.")
    if channels not in (None, 1, 3):
        raise UsageError(f"Images cannot have {channels} channels: give 1 (grey) or 3 (colour).")
    found, split, name = _tables(source, split)
    table = found[split]
    if size is None or channels is None:
        shape = _probe(table, name)
        size = size or default_size(shape.size)
        channels = channels or shape.channels
    key = hashlib.blake2b(
        f"{_stamp(found, split)} {size} {channels} {images.DECODER}".encode(), digest_size=16
    ).hexdigest()

    if isinstance(table, Arrays) and table.pixels.shape[1:] == (size, size, channels):
        labels, classes = _labels(found, split)
        return Samples(table.pixels, np.array(table.names()), labels, classes, fingerprint=key, source=name)
    samples = cache.find(key, cache_dir)
    if samples is None:
        with cache.building(key, cache_dir):
            samples = cache.find(key, cache_dir)  # another process may have been faster
            if samples is None:
                labels, classes = _labels(found, split)
                if cache.has_room(len(table) * size * size * channels, cache_dir):
                    skipped: list[tuple[str, str]] = []
                    about = {"source": name, "classes": classes, "skipped": skipped}
                    cache.store(key, _pieces(table, labels, size, channels, skipped, strict, name), about, cache_dir)
                    samples = cache.find(key, cache_dir)
                else:
                    samples = _stream(table, size, channels, labels, classes, key, name, strict)
    if samples is None:
        raise WithholdError(f"The cache in {cache.root(cache_dir)} lost what was just written to it: try again.")
    samples.source, samples.unlabelled = name, table.unlabelled
    return samples


def _pieces(
    table: Table,
    labels: np.ndarray | None,
    size: int,
    channels: int,
    skipped: list[tuple[str, str]],
    strict: bool,
    where: str,
) -> Iterator[cache.Piece]:
    """Decode everything in order, a chunk at a time, in threads: Pillow works outside the interpreter's lock."""
    from tqdm import tqdm

    def attempt(item: images.Item) -> np.ndarray | str:
        try:
            return images.decode(item, size, channels)
        except Unreadable as error:
            return str(error)

    names, start = table.names(), 0
    step = min(max(CHUNK // (size * size * channels), 1), 1024)
    if len(table) >= MANY:
        log.info("decoding %s images from %s, once", f"{len(table):,}", where)
    bar = tqdm(total=len(table), desc=f"decoding {where}", unit=" images", delay=2, disable=None)
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        for chunk in table.chunks(step):
            outcomes = list(pool.map(attempt, chunk))
            good = [row for row, outcome in enumerate(outcomes) if not isinstance(outcome, str)]
            for row, outcome in enumerate(outcomes):
                if isinstance(outcome, str):
                    if strict:
                        raise WithholdError(f"{names[start + row]} in {where} cannot be read: {outcome}.")
                    skipped.append((names[start + row], outcome))
            rows = [start + row for row in good]
            if good:
                yield (
                    np.stack([outcomes[row] for row in good]),
                    [names[row] for row in rows],
                    (None if labels is None else labels[rows]),
                )
            start += len(chunk)
            bar.update(len(chunk))
    if len(skipped) == len(table):
        raise _nothing(table, where, skipped)


def _stream(table, size, channels, labels, classes, key, name, strict) -> Samples:
    if isinstance(table, Parquet):  # which has no quick way to a single row
        from withhold.data import hub

        table = hub.Hub(hub.as_dataset(table, None, (), key))
    stream = Stream(table, size, channels, labels, strict)
    return Samples(stream, stream.names, labels, classes, stream.skipped, key, name)


def _probe(table: Table, name: str) -> Shape:
    sides, bad, grey = [], [], True
    indices = table.probe(PROBES)
    for index, item in zip(indices, table.images(indices), strict=True):
        try:
            sides.append(images.short_side(item))
            grey = grey and images.is_grey(item)
        except Unreadable as error:
            bad.append((index, str(error)))
    if not sides:
        raise _nothing(table, name, [(table.names()[index], reason) for index, reason in bad[:1]])
    return Shape(len(table), int(np.median(sides)), 1 if grey else 3)


def _nothing(table: Table, name: str, skipped: Sequence[tuple[str, str]]) -> WithholdError:
    if not len(table):
        return UsageError(f"{name} holds no image.")
    first, reason = skipped[0]
    return WithholdError(f"None of the {len(table)} images in {name} can be read ({first}: {reason}).")


def _separate(source: Any, split: str | None) -> tuple[Any, str | None]:
    if isinstance(source, str) and "::" in source:
        base, _, named = source.rpartition("::")
        return base, named
    return source, split


def _tables(source: Any, split: str | None) -> tuple[sources.Tables, str, str]:
    """The tables of a source, the split that is meant, and what to call it to a person."""
    base, split = _separate(source, split)
    name = os.fspath(base) if isinstance(base, str | os.PathLike) else f"the {type(base).__name__}"
    found = sources.tables(base)
    if split is None:
        return found, next(iter(found)), name
    if split not in found:
        known = [known for known in found if known]
        raise UsageError(
            f"{name} has no split {split!r}: {suggestion(split, known)}"
            if known
            else f"{name} is not split: leave ::{split} out."
        )
    return found, split, f"{name}::{split}"


def _stamp(found: sources.Tables, split: str) -> str:
    """Identifies one split's data; all splits count, because a class has the same number in each."""
    stamps = "\n".join(f"{name}: {table.stamp()}" for name, table in sorted(found.items()))
    return hashlib.blake2b(f"{split}\n{stamps}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _labels(found: sources.Tables, split: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    everywhere = [table.labels for table in found.values()]
    values = everywhere[list(found).index(split)]
    if values is None:
        return None, ()
    return number(values, [part for part in everywhere if part is not None], found[split].classes)
