"""The cache of decoded data: one folder for each entry, written atomically and memory-mapped when read.

    ROOT/KEY/ values.npy (the rows of all items)  ends.npy (if items have several)  names.npy  sources.npy
              labels.npy  entry.json
    ROOT/KEY.lock (of the process that writes the entry)  ROOT/KEY.*.held (of each process that has it open)

ROOT is $WITHHOLD_CACHE, or withhold in $XDG_CACHE_HOME or ~/.cache. The total size stays below $WITHHOLD_CACHE_LIMIT
("20GB"; by default 50 GB or half of the free disk, whichever is less): the least recently used entries are removed, but
never one that a process has open. A damaged entry counts as missing.
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
RESERVE = GB // 4  # disk space that is left free
BLOCKS, BLOCK = 64, 2**18  # number and bytes of blocks of values that are checked at every opening: a few milliseconds


@dataclass(frozen=True)
class Piece:
    """A part of a dataset: `values` are the concatenated rows of its m items."""

    values: np.ndarray
    sources: np.ndarray  # indices of the items in the table, int64 [m]
    names: list[str]
    labels: np.ndarray | None = None  # int64 [m]
    lengths: np.ndarray | None = None  # rows of each item, int64 [m]; None if each has one


@dataclass(frozen=True)
class Found:
    """The content of an entry, mapped and held open: `values` are the rows of all items."""

    values: np.ndarray
    ends: np.ndarray | None  # the row after each item's last, int64 [n]; None if each has one row
    about: dict[str, Any]  # arguments of `Samples`: names, labels ...


@dataclass(frozen=True)
class Entry:
    """A decoded dataset: its source, shape of its rows, bytes on disk, and last use in seconds since 1970."""

    key: str
    source: str
    shape: tuple[int, ...]
    bytes: int
    used: float


def root() -> Path:
    """Return the cache's folder: $WITHHOLD_CACHE, else withhold in $XDG_CACHE_HOME or ~/.cache."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("WITHHOLD_CACHE") or Path(caches, "withhold"))


def entries() -> list[Entry]:
    """Return all complete entries, most recently used first."""
    found = []
    for path in root().glob("*/entry.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # an entry that is being removed, or is damaged
            about = json.loads(path.read_text())
            size = sum(file.stat().st_size for file in path.parent.iterdir())
            found.append(Entry(path.parent.name, about["source"], tuple(about["shape"]), size, path.stat().st_mtime))
    return sorted(found, key=lambda entry: -entry.used)


def clear() -> int:
    """Remove all entries that no process has open, and leftovers of killed processes; returns the bytes freed."""
    _remove_damaged()
    freed = sum(entry.bytes for entry in entries() if _remove(root() / entry.key))
    for held in root().glob("*.held"):
        _is_held(held)
    for lock in root().glob("*.lock"):
        with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
            _remove_partial(lock.with_suffix(""))
    return freed


def has_room(need: int) -> bool:
    """Whether `need` bytes fit into the limit and on the disk; if not, unused entries are removed, oldest first."""
    _remove_damaged()
    held = entries()
    total = sum(entry.bytes for entry in held)
    base = root()
    free = shutil.disk_usage(next(path for path in (base, *base.absolute().parents) if path.exists())).free - RESERVE
    limit = _limit(total, free)
    if need > min(limit, free + total):
        return False
    while held and (total + need > limit or need > free):
        oldest = held.pop()
        if _remove(base / oldest.key):
            total, free = total - oldest.bytes, free + oldest.bytes
    return total + need <= limit and need <= free


def find(key: str) -> Found | None:
    """Return the content of an entry, mapped and held open; None if it is missing or damaged."""
    path = root() / key
    if not path.is_dir():
        return None
    release = _hold(path)
    with contextlib.suppress(Exception):  # numpy raises many classes
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
                "stamp": key,
                "sources": np.load(path / "sources.npy", mmap_mode="r"),
            }
            found = Found(values, np.load(path / "ends.npy") if entry["ended"] else None, about)
            os.utime(path / "entry.json")
        except BaseException:
            release()
            raise
        weakref.finalize(values, release)  # views keep the map alive, and with it the entry
        return found
    return None


@contextlib.contextmanager
def building(key: str) -> Iterator[None]:
    """Lock an entry while it is made: other processes that need the same data wait, and then find it."""
    base = root()
    with _writing(base):
        lock = FileLock(base / f"{key}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def store(key: str, pieces: Iterable[Piece], about: dict[str, Any]) -> None:
    """Write an entry piece by piece under a temporary name, and rename it when it is complete.

    `about` has "source", "classes" and "skipped", which may grow while the pieces are made. Raises: WithholdError: the
    disk is full or not writable; nothing is left behind.
    """
    base = root()
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
        shutil.rmtree(base / key, ignore_errors=True)  # under the lock, an existing entry must be damaged
        partial.rename(base / key)


def _write(file: BinaryIO, pieces: Iterable[Piece]) -> tuple[dict[str, np.ndarray], list[int]]:
    """Write the values as an .npy file; returns the other arrays to be saved, by name, and the shape of the values.

    The file is not memory-mapped, because a full disk would then kill the process.
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
    assert last is not None, "a dataset has at least one piece"
    file.seek(0)
    _header(file, last, rows)
    assert file.tell() == start  # numpy pads the header, so that the length of the first axis can grow
    return {part: np.concatenate(found) for part, found in parts.items() if found}, [rows, *last.shape[1:]]


def _header(file: BinaryIO, values: np.ndarray, rows: int) -> None:
    descr, shape = np.lib.format.dtype_to_descr(values.dtype), (rows, *values.shape[1:])
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def _digest(path: Path, about: dict[str, Any], values: np.ndarray) -> str:
    """A digest of the content of an entry; of its values only their size, modification time and 16 MB in blocks.

    The time detects writes to the values, and the blocks detect disk errors.
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
    """Hold an entry, so that `_remove` keeps it, until the returned function is called or the process ends."""
    held = path.with_name(f"{path.name}.{uuid.uuid4().hex}.held")
    lock = FileLock(held, thread_local=False)  # any thread may drop the last view and release it

    def release() -> None:
        with contextlib.suppress(OSError):
            lock.release()
            held.unlink()

    # Fails on file systems that are read-only or lack locks; removing an open entry is harmless on most of these.
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire(timeout=0)
    return release


def _is_held(held: Path) -> bool:
    """Whether a living process holds an entry by this file; if not, the file is removed."""
    try:
        with FileLock(held, timeout=0):
            held.unlink()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # already removed, or a file system without locks
        pass
    return False


def _remove(path: Path) -> bool:
    """Remove an entry unless a process has it open."""
    if any(map(_is_held, path.parent.glob(f"{path.name}.*.held"))):
        return False
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
        return True
    return False


def _remove_damaged() -> None:
    """Remove entries without a readable entry.json, which `entries` does not list."""
    whole = {entry.key for entry in entries()}
    for path in root().glob("*/values.npy"):
        if path.parent.name not in whole and not path.parent.name.endswith(".partial"):
            with contextlib.suppress(Timeout, OSError), FileLock(path.parent.with_suffix(".lock"), timeout=0):
                _remove(path.parent)


def _remove_partial(path: Path) -> None:
    """Remove leftovers of killed processes for the entry `path`; to be called under its lock."""
    for partial in path.parent.glob(f"{path.name}.*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _limit(total: int, free: int) -> int:
    text = os.environ.get("WITHHOLD_CACHE_LIMIT")
    if text is None:
        return min(50 * GB, total + max(free, 0) // 2)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"WITHHOLD_CACHE_LIMIT is {text!r}. Give a size such as 20GB.")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


@contextlib.contextmanager
def _writing(base: Path) -> Iterator[None]:
    """Make the cache's folder if it is missing, and raise a clear error if that or the code in the context fails."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        way_out = "Free some space, or set WITHHOLD_CACHE to another folder."
        raise WithholdError(f"The cache in {base} cannot be written ({error.strerror}). {way_out}") from error
