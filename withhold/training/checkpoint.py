"""Checkpoints: everything that a run needs to resume, in one file that is written atomically."""

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch

import withhold
from withhold.errors import WithholdError
from withhold.files import writing
from withhold.methods import Method

DIGEST = 32
"""Bytes at the end of the file: a checksum of the rest, because torch does not detect a changed bit of a weight."""
CHUNK = 2**24


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) to `path`; an old checkpoint is replaced once the new one is complete.

    Raises:
        WithholdError: the disk is full or the folder is not writable; the old checkpoint is untouched.
    """
    try:
        with writing(path) as partial, partial.open("w+b") as file:
            torch.save(state | {"withhold": withhold.__version__}, file)
            file.write(_digest(file, file.tell()))
            file.flush()
            os.fsync(file.fileno())
    except (WithholdError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise WithholdError(
            f"Could not write the checkpoint {path} ({error.__cause__ or error}). Free some space and --resume, or "
            "choose another --out."
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU; no code in the file is executed.

    Raises:
        WithholdError: the file is damaged, not a checkpoint, or of another version.
    """
    try:
        with open(path, "rb") as file:
            if _digest(file, path.stat().st_size - DIGEST) != file.read():
                raise ValueError("It has changed.")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version = saved["withhold"]
    except Exception as error:  # a damaged zip, a truncated tensor, a foreign pickle: each fails in its own way
        raise WithholdError(
            f"The checkpoint {path} is damaged or not a withhold checkpoint. Delete it to start this run again."
        ) from error
    if version != withhold.__version__:
        raise WithholdError(
            f"The checkpoint {path} is from withhold {version}, but this is {withhold.__version__}. Resume with that "
            "version, or delete the checkpoint to start this run again."
        )
    return saved


def restore(
    saved: dict[str, Any],
    method: Method,
    optimizers: dict[str, torch.optim.Optimizer],
    scaling: Any,
    path: Path | None,
) -> tuple[int, int, int]:
    """Restore the states in `saved`, and return the steps done, the steps planned and those of the warm-up.

    Raises:
        WithholdError: they belong to another configuration or precision.
    """
    try:
        if saved["precision"] != scaling.precision:
            raise WithholdError(
                f"The checkpoint {path} was made with --precision {saved['precision']}, but this run has "
                f"{scaling.precision}. Use the checkpoint's precision, or choose another --out."
            )
        method.load_state_dict(saved["method"])
        for player, optimizer in optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][player])
        scaling.load_state_dict(saved["scale"])
        return saved["step"], saved["steps"], saved["warmup"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise WithholdError(
            f"The checkpoint {path} is from another configuration. Repeat the run's own options, or choose another "
            "--out."
        ) from error


def _digest(file: BinaryIO, length: int) -> bytes:
    """Return the digest of the first `length` bytes of the file; its position is then at their end."""
    total = hashlib.blake2b(digest_size=DIGEST)
    file.seek(0)
    for start in range(0, length, CHUNK):
        total.update(file.read(min(CHUNK, length - start)))
    return total.digest()
