"""Checkpoints: everything that a run needs to go on, in one file that appears whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch

from withhold.errors import WithholdError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) to `path`, replacing what was there only once it is complete.

    Raises:
        WithholdError: the disk is full or the folder cannot be written; the old checkpoint is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise WithholdError(
            f"Could not write the checkpoint {path} ({error}): free some space or name another --out, then --resume."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU; no code in it is run.

    Raises:
        WithholdError: the file is damaged or is no checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip, a truncated tensor, a foreign pickle: each fails in its own way
        raise WithholdError(
            f"The checkpoint {path} is damaged or not one of ours: delete it to start this run again."
        ) from error
