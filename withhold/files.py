"""Writing what a person asked for: whole or not at all, alone, and over nothing that this program has not made."""

import contextlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from withhold.errors import UsageError, WithholdError

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "made with withhold"
"""What a file that a person named says of itself, in its first or its last `EDGE` bytes."""
EDGE = 2**16
PICTURES = ".png .jpg .jpeg .webp"
SOFTWARE = 0x0131
"""The number under which a picture's EXIF says what made it."""


def prepare_folder(folder: Path) -> None:
    """Make a folder to write to, with its parents. Raises: UsageError, where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{folder} is a file, and a folder is needed: name another --out.") from error
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made ({error.strerror}): name another --out.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} is write-protected: name another --out.")


@contextlib.contextmanager
def claiming(path: Path, endings: str, *inputs: Any) -> Iterator[None]:
    """Hold the place of a file that a person named, while it is made and written; other processes are refused it.

    Args:
        endings: that its name may have, joined by spaces.
        inputs: what the file is made from; those that are no files do not matter.

    Raises:
        UsageError: `path` has another ending, or is something that this program has not made, or an input.
        WithholdError: another process writes it.
    """
    if path.suffix.lower() not in endings.split():
        raise UsageError(f"{path} must end in {endings.replace(' ', ' or ')}: name another file.")
    _refuse_folder(path)
    if os.path.lexists(path):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UsageError(f"{path} is no ordinary file: name another one.")
        files = [file for file in inputs if isinstance(file, str | os.PathLike) and os.path.isfile(file)]
        if any(os.path.samefile(path, file) for file in files):
            raise UsageError(f"{path} would be read and replaced: name another file to write.")
        if not _is_marked(path):
            raise UsageError(f"{path} exists, and withhold did not make it: name another file, or delete it.")
    with holding(path):
        yield


def holding(path: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the place of one file or folder while it is made. Raises: WithholdError: another process writes it."""
    return _held(path.parent, f".{path.name}.lock", path)


@contextlib.contextmanager
def filling(folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Hold a folder that is to be filled piece by piece; other processes are refused it.

    It is new or empty, or what fills it has `begun` before. Where an error comes before that, nothing is left.

    Raises:
        UsageError: it holds something else, or cannot be a folder.
        WithholdError: another process fills it.
    """
    lock = ".lock"
    with _held(folder, lock, folder):
        if not begun() and (others := sorted({entry.name for entry in folder.iterdir()} - {lock})):
            raise UsageError(f"{folder} is not empty (it holds {others[0]}): name another --out, or delete it.")
        try:
            yield
        finally:
            for entry in [] if begun() else folder.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != lock:
                    entry.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Another name to write to, which becomes `path` when all went well; the folder is made.

    Raises:
        UsageError: `path` cannot be a file.
        WithholdError: it could not be written.
    """
    _refuse_folder(path)
    with _becoming(path) as partial:
        yield partial


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill under another name, which becomes `path` when all went well; its parents are made.

    Raises:
        UsageError: `path` exists, or cannot be a folder.
        WithholdError: it could not be written, or another process writes it.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists: name another --out, or delete it.")
    with holding(path), _becoming(path) as partial:
        partial.mkdir()
        yield partial


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path`, whole or not at all."""
    with writing(path) as partial:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # which JSON reads as it was


def _refuse_folder(path: Path) -> None:
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder, and a file is needed: name one in it.")


def _is_marked(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(EDGE)
        file.seek(max(0, path.stat().st_size - EDGE))
        return MARK.encode() in start or MARK.encode() in file.read()


@contextlib.contextmanager
def _held(folder: Path, lock: str, what: Path) -> Iterator[None]:
    """A folder, made with its parents, and a lock in it on `what`; folders that were made and stay empty go again.

    The lock ends with the process that holds it, however that ends.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    prepare_folder(folder)
    held = FileLock(folder / lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise WithholdError(
            f"Another process writes {what}: wait until it has ended, or name another place."
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # on Windows, where it stays
            os.unlink(held.lock_file)  # while it is held, so that nobody else's is unlinked
        held.release()
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def _becoming(path: Path) -> Iterator[Path]:
    """What is written under the name that this gives becomes `path` when all went well, and is deleted otherwise."""
    prepare_folder(path.parent)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or error
        raise WithholdError(f"Could not write {path} ({reason}): free some space or name another --out.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            partial.unlink()


def write_picture(picture: "Image", path: Path) -> None:
    """Write a picture to a file that ends as one of `PICTURES`, which says that it was made here."""
    from PIL.Image import Exif, registered_extensions

    about = Exif()
    about[SOFTWARE] = MARK
    with writing(path) as partial:
        picture.save(partial, format=registered_extensions()[path.suffix.lower()], exif=about)
