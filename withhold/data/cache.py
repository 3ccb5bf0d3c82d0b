"""The decode-once cache: one folder an entry, complete from the moment it has its name, mapped into memory when read.

    ROOT/KEY/ values.npy (the rows of all items)  ends.npy (where items have several)  names.npy  sources.npy
              labels.npy  entry.json
    ROOT/KEY.lock (of the process that makes the entry)  ROOT/KEY.*.held (of each that has it open)

ROOT is $WITHHOLD_CACHE, or withhold in $XDG_CACHE_HOME or ~/.cache. Together the entries stay below
$WITHHOLD_CACHE_LIMIT ("20GB"; by default 50 GB or half of the free disk, whichever is less): the ones that were unused
for longest give way, never one that a process holds open. An entry that was damaged counts as absent.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from withhold.errors import UsageError, WithholdError

GB = 2**30
RESERVE = GB // 4  # disk that is left free for everything else
BLOCKS, BLOCK = 64, 2**18  # bytes of values that are summed at every opening: a few milliseconds


@dataclass(frozen=True)
class Piece:
    """A part of a data set: `values` are the rows of its m items, one after another."""

    values: np.ndarray
    sources: np.ndarray  # which items of the table they are, int64 [m]
    names: list[str]
    labels: np.ndarray | None = None  # int64 [m]
    lengths: np.ndarray | None = None  # rows of each item, int64 [m]; None where each has one


@dataclass(frozen=True)
class Found:
    """What an entry holds, mapped and held open: `values` are the rows of all items."""

    values: np.ndarray
    ends: np.ndarray | None  # the row behind each item's last, int64 [n]; None where each has one row
    about: dict[str, Any]  # what samples are made with: names, labels and the rest


@dataclass(frozen=True)
class Entry:
    """A decoded data set: where from, its rows' shape, its bytes on disk, its last use in seconds since 1970."""

    key: str
    source: str
    shape: tuple[int, ...]
    bytes: int
    used: float


def root(folder: str | os.PathLike | None = None) -> Path:
    """The cache's folder: `folder` where given, else $WITHHOLD_CACHE, else withhold in $XDG_CACHE_HOME or ~/.cache."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder or os.environ.get("WITHHOLD_CACHE") or Path(caches, "withhold"))


def entries(folder: str | os.PathLike | None = None) -> list[Entry]:
    """All complete entries, the one used last first."""
    found = []
    for path in root(folder).glob("*/entry.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # one that is being removed, or was damaged
            about = json.loads(path.read_text())
            size = sum(file.stat().st_size for file in path.parent.iterdir())
            found.append(Entry(path.parent.name, about["source"], tuple(about["shape"]), size, path.stat().st_mtime))
    return sorted(found, key=lambda entry: -entry.used)


def clear(folder: str | os.PathLike | None = None) -> int:
    """Remove every entry that no process holds open, and what killed processes left; gives the bytes that came free."""
    freed = sum(entry.bytes for entry in entries(folder) if _remove(root(folder) / entry.key))
    for held in root(folder).glob("*.held"):
        _is_held(held)
    for lock in root(folder).glob("*.lock"):
        with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
            _remove_partial(lock.with_suffix(""))
    return freed


def has_room(need: int, folder: str | os.PathLike | None = None) -> bool:
    """Whether `need` bytes fit the limit and the disk; entries that no process uses make room, the oldest first."""
    held = entries(folder)
    total = sum(entry.bytes for entry in held)
    base = root(folder)
    free = shutil.disk_usage(next(path for path in (base, *base.absolute().parents) if path.exists())).free - RESERVE
    limit = _limit(total, free)
    if need > min(limit, free + total):
        return False
    while held and (total + need > limit or need > free):
        oldest = held.pop()
        if _remove(base / oldest.key):
            total, free = total - oldest.bytes, free + oldest.bytes
    return total + need <= limit and need <= free


def find(key: str, folder: str | os.PathLike | None = None) -> Found | None:
    """What the entry holds, mapped and held open; None where there is no such entry, or it is damaged."""
    path = root(folder) / key
    if not path.is_dir():
        return None
    release = _hold(path)
    with contextlib.suppress(OSError, ValueError, KeyError):
        try:
            entry = json.loads((path / "entry.json").read_bytes())
            values = np.load(path / "values.npy", mmap_mode="r")
            if entry.pop("digest") != _digest(path, entry, values):
                raise ValueError("damaged")
            about = {
                "names": np.load(path / "names.npy", mmap_mode="r"),
                "labels": np.load(path / "labels.npy") if entry["labelled"] else None,
                "classes": tuple(entry["classes"]),
                "skipped": list(map(tuple, entry["skipped"])),
                "fingerprint": key,
                "sources": np.load(path / "sources.npy", mmap_mode="r"),
            }
            found = Found(values, np.load(path / "ends.npy") if entry["ended"] else None, about)
            os.utime(path / "entry.json")
        except BaseException:
            release()
            raise
        weakref.finalize(values, release)  # views of the map keep it alive, and the entry with it
        return found
    return None


@contextlib.contextmanager
def building(key: str, folder: str | os.PathLike | None = None) -> Iterator[None]:
    """Keep other processes from decoding the same data meanwhile; they wait, and then find the entry."""
    base = root(folder)
    with _writing(base):
        lock = FileLock(base / f"{key}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def store(key: str, pieces: Iterable[Piece], about: dict[str, Any], folder: str | os.PathLike | None = None) -> None:
    """Write an entry, piece by piece, under a temporary name, and rename it when it is complete.

    `about` has "source", "classes" and "skipped", which may still grow while the pieces are drawn. Raises:
    WithholdError, if the disk is full or not writable; nothing is left behind.
    """
    base = root(folder)
    _remove_partial(base / key)
    with _writing(base), tempfile.TemporaryDirectory(".partial", f"{key}.", base, ignore_cleanup_errors=True) as name:
        partial = Path(name)
        with (partial / "values.npy").open("wb") as file:
            parts, shape = _write(file, pieces)
            os.fsync(file.fileno())
        for part, array in parts.items():
            np.save(partial / f"{part}.npy", array)
        about = {**about, "shape": shape, "labelled": "labels" in parts, "ended": "ends" in parts}
        digest = _digest(partial, about, np.load(partial / "values.npy", mmap_mode="r"))
        (partial / "entry.json").write_text(json.dumps({**about, "digest": digest}))
        shutil.rmtree(base / key, ignore_errors=True)  # what stands there under the lock is damaged
        partial.rename(base / key)


def _write(file: BinaryIO, pieces: Iterable[Piece]) -> tuple[dict[str, np.ndarray], list[int]]:
    """The values as an .npy file -> what else is to be saved, by its name, and the shape of the values.

    Plain writes, because a mapped page that finds the disk full kills the process.
    """
    parts: dict[str, list[np.ndarray]] = {"names": [], "sources": [], "labels": [], "ends": []}
    start, rows, last = 0, 0, None
    for piece in pieces:
        if last is None:
            _header(file, piece.values, 0)
            start = file.tell()
        last = piece.values
        file.write(np.ascontiguousarray(last).data)
        parts["names"].append(np.array([name.encode("utf-8", "surrogatepass") for name in piece.names], dtype=bytes))
        parts["sources"].append(piece.sources)
        if piece.labels is not None:
            parts["labels"].append(piece.labels)
        if piece.lengths is not None:
            parts["ends"].append(rows + np.cumsum(piece.lengths))
        rows += len(last)
    assert last is not None, "a data set has a piece at least"
    file.seek(0)
    _header(file, last, rows)
    assert file.tell() == start  # numpy pads the header, so that the length of the first axis can grow
    return {part: np.concatenate(found) for part, found in parts.items() if found}, [rows, *last.shape[1:]]


def _header(file: BinaryIO, values: np.ndarray, rows: int) -> None:
    descr, shape = np.lib.format.dtype_to_descr(values.dtype), (rows, *values.shape[1:])
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def _digest(path: Path, about: dict[str, Any], values: np.ndarray) -> str:
    """A digest of what an entry holds: all of it, but of its values their size, their time and 16 MB in blocks.

    Whoever writes to the values changes their time; the blocks are for what a disk loses by itself.
    """
    status = (path / "values.npy").stat()
    total = hashlib.blake2b(json.dumps([about, status.st_size, status.st_mtime_ns]).encode(), digest_size=16)
    for part in sorted(path.glob("*.npy")):
        total.update(b"" if part.name == "values.npy" else part.read_bytes())
    rows = max(1, BLOCK * len(values) // max(values.nbytes, 1))
    for start in np.linspace(0, max(len(values) - rows, 0), BLOCKS).astype(int):
        total.update(np.ascontiguousarray(values[start : start + rows]).data)
    return total.hexdigest()


def _hold(path: Path) -> Callable[[], None]:
    """Hold an entry until the function that this gives is called, or the process ends: `_remove` leaves it alone."""
    held = path.with_name(f"{path.name}.{uuid.uuid4().hex}.held")
    lock = FileLock(held, thread_local=False)  # whoever drops the last view releases it, in whatever thread

    def release() -> None:
        with contextlib.suppress(OSError):
            lock.release()
            held.unlink()

    # A file system without locks, or of others: removing an open entry is harmless on most of them.
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire(timeout=0)
    return release


def _is_held(held: Path) -> bool:
    """Whether a process lives that holds an entry by this file; the file goes if not."""
    try:
        with FileLock(held, timeout=0):
            held.unlink()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # gone meanwhile, or a file system without locks
        pass
    return False


def _remove(path: Path) -> bool:
    """Remove an entry unless a process holds it open."""
    if any(map(_is_held, path.parent.glob(f"{path.name}.*.held"))):
        return False
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
        return True
    return False


def _remove_partial(path: Path) -> None:
    """Remove what a killed process left of the entry `path`; to be called under its lock."""
    for partial in path.parent.glob(f"{path.name}.*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _limit(total: int, free: int) -> int:
    text = os.environ.get("WITHHOLD_CACHE_LIMIT")
    if text is None:
        return min(50 * GB, total + max(free, 0) // 2)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"WITHHOLD_CACHE_LIMIT is {text!r}: give a size such as 20GB.")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


@contextlib.contextmanager
def _writing(base: Path) -> Iterator[None]:
    """Make the cache's folder, if there is none, and say what it means where that or what follows fails."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        way_out = "free some space, or set WITHHOLD_CACHE to another folder."
        raise WithholdError(f"The cache in {base} cannot be written ({error.strerror}): {way_out}") from error
