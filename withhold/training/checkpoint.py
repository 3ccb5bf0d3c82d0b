"""Checkpoints: everything that a run needs to go on, in one file that appears whole or not at all."""

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch

import withhold
from withhold.errors import WithholdError
from withhold.methods import Method

DIGEST = 32
"""Bytes at the end of the file: a checksum of all others, since torch finds no changed bit of a weight."""
CHUNK = 2**24


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) to `path`, replacing what was there only once it is complete.

    Raises:
        WithholdError: the disk is full or the folder cannot be written; the old checkpoint is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w+b") as file:
            torch.save(state | {"withhold": withhold.__version__}, file)
            file.write(_digest(file, file.tell()))
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
        WithholdError: the file is damaged, no checkpoint, or one of another version.
    """
    try:
        with open(path, "rb") as file:
            if _digest(file, path.stat().st_size - DIGEST) != file.read():
                raise ValueError("It has changed.")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version = saved["withhold"]
    except Exception as error:  # a damaged zip, a truncated tensor, a foreign pickle: each fails in its own way
        raise WithholdError(
            f"The checkpoint {path} is damaged or not one of ours: delete it to start this run again."
        ) from error
    if version != withhold.__version__:
        raise WithholdError(
            f"The checkpoint {path} is of withhold {version}, and this is {withhold.__version__}: "
            "go on with that version, or delete it to start this run again."
        )
    return saved


def restore(
    saved: dict[str, Any],
    method: Method,
    optimizers: dict[str, torch.optim.Optimizer],
    scaling: Any,
    path: Path | None,
) -> tuple[int, int]:
    """Put the states that `saved` holds back; gives the steps done and those planned.

    Raises:
        WithholdError: they are of another configuration or precision.
    """
    try:
        if saved["precision"] != scaling.precision:
            raise WithholdError(
                f"The checkpoint {path} was made with --precision {saved['precision']}, and this is "
                f"{scaling.precision}: name that one, or another --out."
            )
        method.load_state_dict(saved["method"])
        for player, optimizer in optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][player])
        scaling.load_state_dict(saved["scale"])
        return saved["step"], saved["steps"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise WithholdError(
            f"The checkpoint {path} is from another configuration: repeat the run's own options, or name another --out."
        ) from error


def _digest(file: BinaryIO, length: int) -> bytes:
    """Of the first `length` bytes of the file, which is then at their end."""
    total = hashlib.blake2b(digest_size=DIGEST)
    file.seek(0)
    for start in range(0, length, CHUNK):
        total.update(file.read(min(CHUNK, length - start)))
    return total.digest()
