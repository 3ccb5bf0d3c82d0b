"""The decode-once cache: one folder an entry, complete from the moment it has its name, mapped into memory when read.

    ROOT/KEY/ images.npy (uint8 [n, h, w, c])  names.npy  labels.npy  entry.json

ROOT is $WITHHOLD_CACHE or ~/.cache/withhold. Together the entries stay below $WITHHOLD_CACHE_LIMIT ("20GB"; by default
50 GB or half of the free disk, whichever is less): the ones that were unused for longest give way, never one that a
process holds open.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from withhold.data.samples import Samples
from withhold.errors import UsageError, WithholdError

GB = 2**30
RESERVE = GB // 4  # disk that is left free for everything else

# A piece of a data set: images uint8 [m, h, w, c], their names, and their labels if any.
Piece = tuple[np.ndarray, list[str], np.ndarray | None]


@dataclass(frozen=True)
class Entry:
    """A decoded data set: where from, its shape [n, h, w, c], its bytes on disk, its last use in seconds since 1970."""

    key: str
    source: str
    shape: tuple[int, ...]
    bytes: int
    used: float


def root(folder: str | os.PathLike | None = None) -> Path:
    """The cache's folder: `folder` where given, else $WITHHOLD_CACHE, else ~/.cache/withhold."""
    return Path(folder or os.environ.get("WITHHOLD_CACHE") or Path.home() / ".cache" / "withhold")


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
    for lock in root(folder).glob("*.lock"):
        with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
            _remove_partial(lock.with_suffix(""))
    return freed


def has_room(need: int, folder: str | os.PathLike | None = None) -> bool:
    """Whether `need` bytes fit the limit and the disk; entries that no process uses make room, the oldest first."""
    held = entries(folder)
    total = sum(entry.bytes for entry in held)
    free = _free(root(folder)) - RESERVE
    limit = _limit(total, free)
    if need > min(limit, free + total):
        return False
    while held and (total + need > limit or need > free):
        oldest = held.pop()
        if _remove(root(folder) / oldest.key):
            total, free = total - oldest.bytes, free + oldest.bytes
    return total + need <= limit and need <= free


def find(key: str, folder: str | os.PathLike | None = None) -> Samples | None:
    """The entry's samples, mapped and held open; None where there is no such entry, or it is damaged."""
    path = root(folder) / key
    with contextlib.suppress(OSError, ValueError, KeyError):
        held = _hold(path)
        try:
            about = json.loads(held.read())
            images = np.load(path / "images.npy", mmap_mode="r")
            labels = np.load(path / "labels.npy") if about["labelled"] else None
            names = np.load(path / "names.npy", mmap_mode="r")
            if not len(images) == len(names) == about["shape"][0]:
                return None
        except BaseException:
            held.close()
            raise
        os.utime(path / "entry.json")
        weakref.finalize(images, held.close)  # views of the map keep it alive, and the entry with it
        skipped = [(name, reason) for name, reason in about["skipped"]]
        return Samples(images, names, labels, tuple(about["classes"]), skipped, key, about["source"])
    return None


@contextlib.contextmanager
def building(key: str, folder: str | os.PathLike | None = None) -> Iterator[None]:
    """Keep other processes from decoding the same data meanwhile; they wait, and then find the entry."""
    base = root(folder)
    try:
        base.mkdir(parents=True, exist_ok=True)
        lock = FileLock(base / f"{key}.lock")
        lock.acquire()
    except OSError as error:
        raise _unwritable(base, error) from error
    try:
        yield
    finally:
        lock.release()


def store(key: str, pieces: Iterable[Piece], about: dict[str, Any], folder: str | os.PathLike | None = None) -> None:
    """Write an entry, piece by piece, under a temporary name, and rename it when it is complete.

    Args:
        about: "source", "classes" and "skipped", which may still grow while the pieces are drawn.

    Raises:
        WithholdError: the disk is full or not writable; nothing is left behind.
    """
    base = root(folder)
    _remove_partial(base / key)
    partial = None
    try:
        base.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{key}.", suffix=".partial", dir=base))
        with (partial / "images.npy").open("wb") as file:
            names, labels, shape = _write(file, pieces)
        np.save(
            partial / "names.npy", np.array([name.encode("utf-8", "surrogateescape") for name in names], dtype=bytes)
        )
        if labels is not None:
            np.save(partial / "labels.npy", labels)
        about = {**about, "shape": shape, "labelled": labels is not None}
        (partial / "entry.json").write_text(json.dumps(about))
        shutil.rmtree(base / key, ignore_errors=True)  # what stands there under the lock is damaged
        partial.rename(base / key)
    except OSError as error:
        raise _unwritable(base, error) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _write(file: BinaryIO, pieces: Iterable[Piece]) -> tuple[list[str], np.ndarray | None, list[int]]:
    """The images as an .npy file. Plain writes, because a mapped page that finds the disk full kills the process."""
    names: list[str] = []
    labels: list[np.ndarray] = []
    shape = [0, 0, 0, 0]
    _header(file, shape)
    start = file.tell()
    for images, piece_names, piece_labels in pieces:
        file.write(np.ascontiguousarray(images).data)
        names += piece_names
        labels += [] if piece_labels is None else [piece_labels]
        shape = [len(names), *images.shape[1:]]
    file.seek(0)
    _header(file, shape)
    assert file.tell() == start  # numpy pads the header, so that the length of the first axis can grow
    return names, np.concatenate(labels) if labels else None, shape


def _header(file: BinaryIO, shape: list[int]) -> None:
    about = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, about)


def _hold(path: Path) -> BinaryIO:
    """Open an entry's description under a shared lock, which `_remove` respects; it ends when the file is closed."""
    file = (path / "entry.json").open("rb")
    with contextlib.suppress(
        OSError
    ):  # a file system without locks: removing an open entry is harmless on most of them
        fcntl.flock(file, fcntl.LOCK_SH)
    if not os.fstat(file.fileno()).st_nlink:
        file.close()
        raise FileNotFoundError(path)
    return file


def _remove(path: Path) -> bool:
    """Remove an entry unless a process holds it open."""
    with contextlib.suppress(OSError), (path / "entry.json").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        return True
    return False


def _remove_partial(path: Path) -> None:
    """Remove what a killed process left of the entry `path`; to be called under its lock."""
    for partial in path.parent.glob(f"{path.name}.*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _limit(total: int, free: int) -> int:
    text = os.environ.get("WITHHOLD_CACHE_LIMIT")
    if text is None:
        return min(50 * GB, total + max(free, 0) // 2)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"WITHHOLD_CACHE_LIMIT is {text!r}: give a size such as 20GB.")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def _unwritable(base: Path, error: OSError) -> WithholdError:
    return WithholdError(
        f"The cache in {base} cannot be written ({error.strerror}): "
        f"free some space, or set WITHHOLD_CACHE to another folder."
    )
