"""The folder of a training: where it is, and that one training at a time fills it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from withhold.errors import UsageError
from withhold.files import filling
from withhold.options import Options
from withhold.training.fabric import make_fabric


def folder_of(method: str, sources: Sequence[Any], out: str | Path | None = None) -> Path:
    """`out`, or `runs/METHOD-DATA` where that is not named."""
    names = [Path(source.removeprefix("hf:")).stem if isinstance(source, str) else "data" for source in sources]
    data = "-".join(dict.fromkeys(name or "data" for name in names))
    return Path(out or Path("runs") / f"{Path(method).stem}-{data}")


def begun(folder: Path) -> bool:
    """Whether a training has begun there, so that it can be resumed."""
    return (folder / "config.json").is_file()


@contextlib.contextmanager
def held(folder: Path, resume: bool, options: Options) -> Iterator[None]:
    """Hold the folder for one training, whose processes are one; what fails before it has begun leaves nothing there.

    Raises:
        UsageError: there is no run to resume, or one that is not to be resumed, or something else.
        WithholdError: another training holds it.
    """
    if resume and not begun(folder):
        raise UsageError(f"There is no run in {folder} to go on with: leave --resume out to start one.")
    strategy = "ddp" if options.devices * options.nodes > 1 else "auto"
    fabric = make_fabric(devices=options.devices, num_nodes=options.nodes, strategy=strategy)
    with filling(folder, lambda: begun(folder)) if fabric.is_global_zero else contextlib.nullcontext():
        if begun(folder) and not resume:
            raise UsageError(f"The run {folder} exists: add --resume to go on with it, or name another --out.")
        yield
