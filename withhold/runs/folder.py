"""The folder of a training: its path, and the lock that admits one training at a time."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from withhold.errors import UsageError
from withhold.files import filling
from withhold.options import Options
from withhold.training.fabric import make_fabric


def folder_of(method: str, sources: Sequence[Any], out: str | Path | None = None) -> Path:
    """Return `out`, by default `runs/METHOD-DATA`."""
    names = [Path(str(one).removeprefix("hf:")).stem if isinstance(one, str | Path) else "data" for one in sources]
    data = "-".join(dict.fromkeys(name or "data" for name in names))
    return Path(out or Path("runs") / f"{Path(method).stem}-{data}")


def begun(folder: Path) -> bool:
    """Whether a training has begun in `folder` and can be resumed."""
    return (folder / "config.json").is_file()


@contextlib.contextmanager
def held(folder: Path, resume: bool, options: Options) -> Iterator[None]:
    """Lock the folder for one training and its processes. If the training fails before it begins, nothing is left.

    Raises:
        UsageError: there is no run to resume, a run exists and `resume` is False, or the folder holds something else.
        WithholdError: another training has locked the folder.
    """
    if resume and not begun(folder):
        raise UsageError(f"There is no run to resume in {folder}. Remove --resume to start one.")
    strategy = "ddp" if options.devices * options.nodes > 1 else "auto"
    fabric = make_fabric(devices=options.devices, num_nodes=options.nodes, strategy=strategy)
    with filling(folder, lambda: begun(folder)) if fabric.is_global_zero else contextlib.nullcontext():
        if begun(folder) and not resume:
            raise UsageError(f"The run {folder} already exists. Add --resume to resume it, or choose another --out.")
        yield
