"""Python files outside the package, with a method, an encoder or a protocol: run where a person names them, only there.

A file that a person has named is remembered by its digest, in the user's own folder: a run that was made with it is
loaded later without naming it again, and a run from elsewhere executes nothing.
"""

import contextlib
import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from withhold.errors import UsageError, WithholdError


def execute(file: str, declares: str) -> ModuleType:
    """Run a Python file that a person named; gives its module.

    Args:
        declares: what it is to declare: "method", "encoder" or "protocol".

    Raises:
        UsageError: there is no such file, or it fails.
    """
    trust(file, declares)
    name = f"withhold_{declares}_{Path(file).stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where inspect and pickle look for a class's module
    try:
        spec.loader.exec_module(module)
    except WithholdError:
        raise
    except Exception as error:
        raise UsageError(f"{file} cannot be executed ({type(error).__name__}: {error}): mend it.") from error
    return module


def trust(file: str, declares: str = "Python") -> None:
    """Remember a file that a person named. Raises: UsageError, where there is none."""
    if not Path(file).is_file():
        raise UsageError(f"There is no {declares} file {file!r}: give the path of a Python file that declares one.")
    with contextlib.suppress(OSError):  # where nothing can be kept, it is named every time
        _mark(file).parent.mkdir(parents=True, exist_ok=True)
        _mark(file).touch()


def trusted(file: str) -> bool:
    """Whether a person has named a file of this very content, on this machine."""
    return Path(file).is_file() and _mark(file).exists()


def _mark(file: str) -> Path:
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "withhold" / "named" / hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
