"""Writing of output files: atomically, by one process at a time, and never over files of other origin."""

import contextlib
import csv
import io
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from filelock import FileLock, Timeout

from withhold.errors import UsageError, WithholdError

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "made with withhold"
"""The mark of output files, in their first or last `EDGE` bytes."""
EDGE = 2**16
PICTURES = ".png .jpg .jpeg .webp"
SOFTWARE = 0x0131
"""The number of the software tag in an image's EXIF."""


def prepare_folder(folder: Path) -> None:
    """Make a folder to write to, with its parents. Raises: UsageError: it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{folder} is a file, but must be a folder. Choose another --out.") from error
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made ({error.strerror}). Choose another --out.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} is write-protected. Choose another --out.")


@contextlib.contextmanager
def claiming(path: Path, endings: str, *inputs: Any) -> Iterator[None]:
    """Lock an output file while it is made and written; other processes get an error.

    Args:
        endings: its allowed endings, joined by spaces.
        inputs: inputs of the file, which must not be replaced; inputs that are not files are ignored.

    Raises:
        UsageError: `path` has another ending, or is an input or a file that this program has not made.
        WithholdError: another process is writing it.
    """
    if path.suffix.lower() not in endings.split():
        raise UsageError(f"{path} must end in {endings.replace(' ', ' or ')}. Choose another file name.")
    _refuse_folder(path)
    if os.path.lexists(path):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UsageError(f"{path} is not a regular file. Choose another file.")
        files = [file for file in inputs if isinstance(file, str | os.PathLike) and os.path.isfile(file)]
        if any(os.path.samefile(path, file) for file in files):
            raise UsageError(f"{path} is both an input and the output. Choose another output file.")
        if not _is_marked(path):
            raise UsageError(f"{path} already exists and was not made by withhold. Choose another file, or delete it.")
    with holding(path):
        yield


def holding(path: Path) -> contextlib.AbstractContextManager[None]:
    """Lock one file or folder while it is made. Raises: WithholdError: another process is writing it."""
    return _held(path.parent, f".{path.name}.lock", path)


@contextlib.contextmanager
def filling(folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Lock a folder that is filled step by step; other processes get an error.

    It must be new or empty, or the work in it has `begun` before. After an error before that, nothing is left in it.

    Raises:
        UsageError: it holds something else, or cannot be a folder.
        WithholdError: another process is filling it.
    """
    lock = ".lock"
    with _held(folder, lock, folder):
        if not begun() and (others := sorted({entry.name for entry in folder.iterdir()} - {lock})):
            raise UsageError(f"{folder} is not empty (it holds {others[0]}). Choose another --out, or delete it.")
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
    """Yield a temporary path to write to, which is renamed to `path` on success; its folder is made.

    Raises:
        UsageError: `path` is a folder.
        WithholdError: it could not be written.
    """
    _refuse_folder(path)
    with _becoming(path) as partial:
        yield partial


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary new folder to fill, which is renamed to `path` on success; its parents are made.

    Raises:
        UsageError: `path` exists, or cannot be a folder.
        WithholdError: it could not be written, or another process is writing it.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} already exists. Choose another --out, or delete it.")
    with holding(path), _becoming(path) as partial:
        partial.mkdir()
        yield partial


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON, atomically."""
    with writing(path) as partial:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # JSON restores them


def read_json(path: Path, way: str, kind: type = dict) -> Any:
    """Read what `write_json` wrote, an object or another `kind` of value.

    Raises:
        WithholdError: the file is damaged; `way` is what to do then.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise ValueError(f"it holds {json.dumps(found)[:20]}")
    except (ValueError, RecursionError) as error:
        raise WithholdError(f"{path} is damaged ({error}). {way}") from error
    return found


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to `path` as csv, atomically; bytes of file names that are not UTF-8 are escaped."""
    with writing(path) as partial, partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        write_rows(file, [columns, *rows])


def write_rows(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write csv rows that end with a line feed. Cells with a carriage return are quoted, too, unlike by `csv`."""
    line = io.StringIO(newline="")
    writer = csv.writer(line, lineterminator="\r\n")
    for row in rows:
        writer.writerow(row)
        file.write(line.getvalue()[:-2] + "\n")
        line.seek(line.truncate(0))


def _refuse_folder(path: Path) -> None:
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder, but must be a file. Give the path of a file.")


def _is_marked(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(EDGE)
        file.seek(max(0, path.stat().st_size - EDGE))
        return MARK.encode() in start or MARK.encode() in file.read()


@contextlib.contextmanager
def _held(folder: Path, lock: str, what: Path) -> Iterator[None]:
    """Make a folder with its parents, and lock `what` in it; new folders that stay empty are removed again.

    The lock ends with the process that holds it, even if that is killed.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    prepare_folder(folder)
    held = FileLock(folder / lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise WithholdError(
            f"Another process is writing {what}. Wait until it is finished, or choose another path."
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # fails on Windows
            os.unlink(held.lock_file)  # before the release, so that no other process's lock is unlinked
        held.release()
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def _becoming(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` on success and deleted otherwise."""
    prepare_folder(path.parent)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or error
        raise WithholdError(f"Could not write {path} ({reason}). Free some space or choose another --out.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            partial.unlink()


def write_picture(picture: "Image", path: Path) -> None:
    """Write a picture to a file with an ending of `PICTURES`, marked as made by this program."""
    from PIL.Image import Exif, registered_extensions

    about = Exif()
    about[SOFTWARE] = MARK
    with writing(path) as partial:
        picture.save(partial, format=registered_extensions()[path.suffix.lower()], exif=about)
