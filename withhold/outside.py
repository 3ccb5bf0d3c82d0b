"""Python files outside the package, with a method, an encoder or a protocol: executed only if the user has named them.

The digest of a named file is remembered in the user's state folder. So a run that was made with it can be loaded
without naming it again, and a run from elsewhere executes nothing.
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
    """Execute a Python file that the user named, and return its module.

    Args:
        declares: what the file declares: "method", "encoder" or "protocol".

    Raises:
        UsageError: there is no such file, or executing it fails.
    """
    trust(file, declares)
    name = f"withhold_{declares}_{Path(file).stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # inspect and pickle look for a class's module there
    try:
        spec.loader.exec_module(module)
    except WithholdError:
        raise
    except Exception as error:
        raise UsageError(f"{file} cannot be executed ({type(error).__name__}: {error}). Fix the file.") from error
    return module


def trust(file: str, declares: str = "Python") -> None:
    """Remember a file that the user named. Raises: UsageError: there is no such file."""
    if not Path(file).is_file():
        raise UsageError(f"There is no {declares} file {file!r}. Give the path of a Python file that declares one.")
    with contextlib.suppress(OSError):  # without a writable state folder, the file must be named every time
        _mark(file).parent.mkdir(parents=True, exist_ok=True)
        _mark(file).touch()


def trusted(file: str) -> bool:
    """Whether the user has named a file with this exact content on this machine."""
    return Path(file).is_file() and _mark(file).exists()


def _mark(file: str) -> Path:
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "withhold" / "named" / hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
