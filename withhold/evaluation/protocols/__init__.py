"""Protocols: one file each, in this folder or anywhere. A protocol's name is its file's name.

`measure(task)` returns its rows, each with "metric", "value" and further values; "encoder", "n_train" or "n_test" in a
row replace the defaults. `TAKES` declares its data, in the notation of `withhold.needs`, where "items" are of any kind:

    items + label       samples that all have a label, with a training part; the default
    items               samples, labelled or not
    video + audio       pairs, labelled or not
    video + mask        videos with masks of some frames: `task.test` is a list of `data.Sequence`, `task.train` None
    image + mask, image + boxes, image + points, items + number, items + targets ...
                        samples whose batches also hold these parts

With `TOLD = True`, `task.train` are the items whose labels the method was given, or None if these are not available any
more; the training items of the evaluation are not used. With `ANSWERS = True` as well, only the method's predictions
are measured: nothing is trained, and an encoder without a method has no row.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from withhold.data import Samples
from withhold.errors import UsageError, suggestion
from withhold.needs import Need, parse
from withhold.outside import execute

SEQUENCES = parse("video + mask")


@dataclass(frozen=True)
class Protocol:
    """A protocol: its name, the data it takes, the flags TOLD and ANSWERS, and `measure`."""

    name: str
    takes: Need
    told: bool
    answers: bool
    measure: Callable[[Any], list[dict[str, Any]]]

    def given(self, data: Any, kind: str) -> Any:
        """Return the part of samples, or of a list of sequences, that the protocol takes for an encoder of that kind.

        Raises:
            UsageError: the data lack it.
        """
        sequences = not isinstance(data, Samples)
        held = str(SEQUENCES) if sequences else data.kind
        wanted = [str(SEQUENCES)] if self.takes == SEQUENCES else [self.takes.kind(one) for one in self.takes.kinds]
        if held not in wanted and (sequences or wanted != ["items"]):
            raise UsageError(
                f"The protocol {self.name} takes {self.takes}, not {held}. Run it separately, on data of that kind."
            )
        if wanted == ["items"]:
            data = data.of(kind)
        return data if sequences else data.serving(self.takes, "the evaluation")


def names() -> list[str]:
    """Return the names of all protocols in the library."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def find(name: str) -> Protocol:
    """Return the protocol called `name`, or that of the Python file `name`.

    Raises:
        UsageError: there is none.
    """
    if name.endswith(".py"):
        module = execute(name, "protocol")
    elif name in names():
        module = importlib.import_module(f"{__name__}.{name}")
    else:
        raise UsageError(f"There is no protocol {name!r}: {suggestion(name, names())}")
    if not callable(getattr(module, "measure", None)):
        raise UsageError(f"{name} is not a protocol: it does not define measure(task).")
    takes = parse(getattr(module, "TAKES", "items + label"))
    told, answers = (getattr(module, flag, False) for flag in ("TOLD", "ANSWERS"))
    return Protocol(Path(name).stem, takes, told, answers, module.measure)
