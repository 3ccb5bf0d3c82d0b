"""Writing what a person asked for: whole or not at all, and one sentence where it cannot be."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from withhold.errors import UsageError, WithholdError


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
def writing(path: Path) -> Iterator[Path]:
    """Another name to write to, which becomes `path` when all went well; the folder is made.

    Raises:
        UsageError: `path` cannot be a file.
        WithholdError: it could not be written.
    """
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder, and a file is needed: name one in it.")
    with _becoming(path, path.with_name(path.name + ".partial")) as partial:
        yield partial


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill under another name, which becomes `path` when all went well; its parents are made.

    Raises:
        UsageError: `path` exists, or cannot be a folder.
        WithholdError: it could not be written.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists: name another --out, or delete it.")
    with _becoming(path, path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")) as partial:
        partial.mkdir()
        yield partial


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path`, whole or not at all."""
    with writing(path) as partial:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # which JSON reads as it was


@contextlib.contextmanager
def _becoming(path: Path, partial: Path) -> Iterator[Path]:
    """What is written under the name `partial` becomes `path` when all went well, and is deleted otherwise."""
    prepare_folder(path.parent)
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
