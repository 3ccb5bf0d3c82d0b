"""Loading of sources as decoded samples, through the cache."""

import functools
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from withhold.console import printable
from withhold.data import cache, hub, texts
from withhold.data.arrays import Arrays
from withhold.data.boxes import Marked, give_boxes, read_boxes
from withhold.data.images import Images, Pictures
from withhold.data.kind import Kind, Unreadable
from withhold.data.labels import Labels, attach
from withhold.data.opening import JOINT, TOGETHER, Part, kind_named, part_of
from withhold.data.parquet import Parquet
from withhold.data.parts import attach_columns, give_masks, left_out, masks_of, misfits, second_text
from withhold.data.samples import Samples
from withhold.data.series import Joined, Series
from withhold.data.sounds import Sounds
from withhold.data.streaming import Stream
from withhold.data.tables import Frames, Succession, Table
from withhold.data.videos import Videos
from withhold.errors import UsageError, WithholdError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("withhold")

MANY = 10_000
"""The number of items from which decoding is logged."""


def load(
    source: Any,
    kind: str = "image",
    *,
    parts: Sequence[str] = (),
    strict: bool = False,
    labels: Labels | None = None,
    whole: bool = True,
    **decoding: Any,
) -> Samples:
    """Load decoded samples. They are written to the cache the first time, and mapped from it later.

    Args:
        source: a folder or zip archive, a csv, tsv, jsonl, json, parquet, npz, IDX or single file, "digits", or
            "hf:NAME" (hub or local). Sub-folders, or those of parts, are classes if there are several and every item is
            inside one; folders that wrap a whole archive do not count. "::train", "::test" or "::unlabelled" at the end
            selects a part, if folders, files or splits have such names. Or an array or tensor uint8 [n, h, w],
            [n, h, w, c] or [n, c, h, w] (for videos [n, t, h, w], [n, t, h, w, c] or [n, t, c, h, w], whose frames are
            used as they are, whatever fps is), a pair (items, labels), a list of paths (or of texts), a
            datasets.Dataset, or Samples (returned as they are).
        kind: "image", "video", "audio", "text", or several joined by " + ", such as "video + audio"; the second text
            of "text + text" is a column called translation, target, summary ... of the same table.
        parts: further parts of an item, of `needs.PARTS`; unused columns of a table are logged.
        decoding: parameters of the kind's class (`Images`, `Videos`, `Sounds`, `Texts`; of all of them for joined
            kinds), such as size and channels; missing ones and None are chosen from the data.
        strict: raise at the first item that cannot be decoded, instead of skipping and listing it.
        labels: one or several tables of paths or names and labels, which replace those of the source; see
            `labels.attach`. Other items are unlabelled.
        whole: decode everything at once; False decodes images whenever they are read, unless they are in the cache.

    Raises:
        UsageError, WithholdError: the message names the source and how to fix it.
    """
    samples = source
    if not isinstance(source, Samples):
        samples = _load_all(source, kind.split(JOINT), parts, decoding, strict, whole)
    return attach(samples, labels)


def labels_of(source: Any, kind: str, labels: Labels | None = None) -> Samples:
    """Load only the names and labels of a source's items, as `load` returns them."""
    samples = source
    if not isinstance(source, Samples):
        part = part_of(source, kind_named(kind))
        own, classes = part.labels()
        names = np.array([name or f"row {row}" for row, name in enumerate(part.table.names(), 1)])
        empty = np.empty((len(names), 0), dtype=np.uint8)
        samples = Samples(empty, names, own, classes, source=part.name, unlabelled=part.table.unlabelled)
        samples.subset = part.subset
    return attach(samples, labels)


def fit_tokenizer(sources: Sequence[tuple[Any, str]], name: str) -> "Tokenizer":
    """Train a tokenizer on all texts of the sources, each given with its kind, or load an existing one.

    Args:
        name: "words", "wordpiece:8000" ...; or an existing tokenizer: "hf:NAME", a tokenizer.json or its folder.
    """
    if texts.is_elsewhere(name):
        return texts.load_tokenizer(name)
    found: dict[str, Part] = {}  # a source that is given twice counts once
    for source, kind in sources:
        part = part_of(source, texts.Texts)
        twice = kind.split(JOINT).count(texts.Texts.name) > 1
        found |= {part.stamp: part} | ({f"{part.stamp} 2": second_text(part)} if twice else {})
    where = " and ".join(part.name for part in found.values())
    return texts.train_tokenizer(Succession({key: part.table for key, part in found.items()}), name, where)


def takes(kind: str) -> dict[str, Any]:
    """Return the decoding parameters of a kind and their defaults; None is chosen from the data."""
    own = (fields(kind_named(name)) for name in kind.split(JOINT))  # type: ignore[arg-type]
    return {field.name: field.default for part in own for field in part}


def window(kind: str, decoding: Mapping[str, Any]) -> int | None:
    """Return the number of frames, samples or tokens of a window; None for images, and for joined kinds."""
    if JOINT in kind:
        return None
    return kind_named(kind)(**{field: value for field, value in decoding.items() if field in takes(kind)}).window


def _load(part: Part, kind: Kind, strict: bool, whole: bool) -> Samples:
    table, name = part.table, part.name
    if isinstance(table, Frames) and any(len(frames) > 1 for frames in table.frames):
        log.info("%s: each folder of images is read as one video; videos: %s", name, f"{len(table):,}")
    if any(value is None for value in vars(kind).values()):
        kind = kind.suited(kind.shape(table, name))
    key = hashlib.blake2b(f"{part.stamp} {kind.key}".encode(), digest_size=16).hexdigest()

    if isinstance(table, Arrays) and isinstance(kind, Pictures) and table.pixels.shape[-3:] == kind.row:
        return _as_it_is(table.pixels, kind, part, key)
    held = cache.find(key)
    if held is None and isinstance(kind, Images) and not whole:
        return _stream(table, kind, part, key, strict)
    if held is None:
        with cache.building(key):
            held = cache.find(key)  # another process may have been faster
            if held is None:
                if isinstance(kind, Images) and not cache.has_room(len(table) * kind.row_bytes):
                    if isinstance(table, Parquet):  # single rows of parquet files are slow to read
                        table = hub.Hub(hub.as_dataset(table, None, (), key), Images)
                    return _stream(table, kind, part, key, strict)
                labels, classes = part.labels()
                skipped: list[tuple[str, str]] = []
                known = {"source": name, "classes": classes, "skipped": skipped}
                cache.store(key, _pieces(table, labels, kind, skipped, strict, name), known)
                held = cache.find(key)
    if held is None:
        raise WithholdError(f"The cache in {cache.root()} lost the entry that was just written. Try again.")
    if strict and held.about["skipped"]:
        item, reason = held.about["skipped"][0]
        raise WithholdError(f"{item} in {name} cannot be read: {reason}.")
    if table.ignored:
        endings = Counter(reason for _, reason in table.ignored)
        said = ", ".join(f"{count:,} ({reason})" for reason, count in endings.most_common())
        log.warning("%s: files left out: %s", name, said)
    if held.about["skipped"]:
        item, reason = held.about["skipped"][0]
        log.warning("%s: %s left out, such as %s (%s)", name, len(held.about["skipped"]), printable(item), reason)
    skipped = [*held.about["skipped"], *table.ignored]
    about = {**held.about, "skipped": skipped, "source": name, "unlabelled": table.unlabelled}
    if held.ends is None or kind.window is None:
        return Samples(held.values, **about)
    spans = np.stack([np.concatenate([[0], held.ends[:-1]]), held.ends], axis=1)
    cache.has_room(0)  # the size of the entry is only known now; older entries may exceed the limit
    return Series(held.values, spans, kind.window, kind.name, kind.rows_a_second, **about)


def _as_it_is(pixels: np.ndarray, kind: Pictures, part: Part, key: str) -> Samples:
    """Make samples of images [n, h, w, c] or videos [n, t, h, w, c] in memory that already have the right size."""
    rows = np.arange(len(pixels))
    labels, classes = part.labels()
    about: dict[str, Any] = {
        "names": np.array(part.table.names()), "labels": labels, "classes": classes, "stamp": key,
        "source": part.name,
    }  # fmt: skip
    if not isinstance(kind, Videos):
        return Samples(pixels, **about)
    spans = np.stack([rows, rows + 1], axis=1) * pixels.shape[1]
    return Series(pixels.reshape(-1, *kind.row), spans, kind.frames, kind.name, kind.fps, rows, **about)


def _load_all(
    source: Any, kinds: list[str], wanted: Sequence[str], decoding: dict[str, Any], strict: bool, whole: bool
) -> Samples:
    """Load a source's items in all kinds, with the wanted parts; items that lack any are skipped and listed."""
    first = part_of(source, kind_named(kinds[0]))
    loaded = []
    for place, name in enumerate(kinds):
        own = {field: value for field, value in decoding.items() if field in takes(name)}
        part = first
        if name in kinds[:place]:
            part = second_text(first)
        elif place and (first.table.listed or name != Sounds.name):  # otherwise the sound is the video's own
            part = part_of(source, kind_named(name))
        elif place and isinstance(first.table, Frames):
            raise UsageError(f"{first.name} has images, but no video with sound. {TOGETHER}")
        loaded.append(_load(part, kind_named(name)(**own), strict, whole))
    masked = "mask" in wanted
    if masked:
        marks, marking = masks_of(first, loaded[0].shape[0])
        loaded.append(_load(marks, marking, strict, whole))
    lacking: dict[int, str] = {}
    if boxed := "boxes" in wanted:
        marked, names = read_boxes(first)
        lacking = {row: one for row, one in enumerate(marked) if not isinstance(one, Marked)}
    both = functools.reduce(np.intersect1d, [samples.sources for samples in loaded])
    if masked:
        lacking |= misfits(first, both)
    loaded[0].skipped += left_out(first, lacking, strict)
    if len(loaded) > 1 or boxed:
        both = np.setdiff1d(both, list(lacking))
        if not len(both):
            what = " and ".join([*kinds, *wanted])
            raise WithholdError(
                ": ".join([f"No item of {first.name} can be read as {what}", *lacking.values()][:2]) + "."
            )
        loaded = [samples.select(np.flatnonzero(np.isin(samples.sources, both))) for samples in loaded]
    for other in loaded[1:]:
        loaded[0].skipped += other.skipped
        if isinstance(other.values, Stream):
            other.values.skipped = loaded[0].skipped  # a shared list that grows while streams are read
    if masked:
        give_masks(loaded[0], loaded.pop(), first, marking)
    if boxed:
        give_boxes(loaded[0], first, marked, names)
    attach_columns(loaded[0], first, kinds, wanted)
    found = loaded[0] if len(loaded) == 1 else Joined(*loaded)
    found.subset = first.subset
    return found


def _pieces(
    table: Table, labels: np.ndarray | None, kind: Kind, skipped: list[tuple[str, str]], strict: bool, where: str
) -> Iterator[cache.Piece]:
    """Decode everything in order, a chunk at a time, in threads: decoders release the interpreter's lock."""
    from tqdm import tqdm

    names = [name or f"row {row}" for row, name in enumerate(table.names(), 1)]  # a cell of a table may be empty
    start = 0
    if len(table) >= MANY:
        log.info("decoding %s %ss from %s, once", f"{len(table):,}", kind.noun, where)
    bar = tqdm(total=len(table), desc=printable(f"decoding {where}"), unit=f" {kind.noun}s", delay=2, disable=None)
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        for chunk in table.chunks(kind.at_once):
            found = {}
            for row, outcome in enumerate(pool.map(kind.attempt, chunk), start):
                if not isinstance(outcome, Unreadable):
                    found[row] = outcome
                elif strict:
                    raise WithholdError(f"{names[row]} in {where} cannot be read: {outcome}.")
                else:
                    skipped.append((names[row], str(outcome)))
            if found:
                rows, values = list(found), list(found.values())
                yield cache.Piece(
                    np.stack(values) if kind.window is None else np.concatenate(values),
                    np.array(rows),
                    [names[row] for row in rows],
                    None if labels is None else labels[rows],
                    None if kind.window is None else np.array(list(map(len, values))),
                )
            start += len(chunk)
            bar.update(len(chunk))
    if len(skipped) == len(table):
        raise kind.nothing(table, where, skipped)


def _stream(table: Table, kind: Images, part: Part, key: str, strict: bool) -> Samples:
    stream, (labels, classes) = Stream(table, kind, strict, part.table.names()), part.labels()
    stream.skipped += table.ignored
    return Samples(stream, stream.names, labels, classes, stream.skipped, key, part.name, unlabelled=table.unlabelled)
