"""Protocols: one file each, in this folder or anywhere. A protocol's name is its file's name.

`measure(task)` gives its rows, each with "metric", "value" and what else it has to say; what it says of "encoder",
"n_train" or "n_test" replaces what is there. `TAKES` is what it is measured on, in the words of `withhold.needs`, where
"items" are of any kind:

    items + label       samples that all have a label, with a part to learn from; what is left out where TAKES is
    items               samples, labelled or not
    video + audio       pairs, labelled or not
    video + mask        videos with masks of some frames: `task.test` is a list of `data.Sequence`, `task.train` None
    image + mask, image + boxes, image + points, items + number, items + targets ...
                        samples of which a batch holds that as well

Where a file says `TOLD = True`, `task.train` are the items whose labels the method was told, None where these are not
there any more; nothing is learned from the training items of the evaluation. Where it says `ANSWERS = True` as well,
only answers are measured: nothing is learned at all, and an encoder that is part of no method has no row.
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
    """A way to measure an encoder: the name of its file, what it is measured on, from what it learns, and `measure`."""

    name: str
    takes: Need
    told: bool
    answers: bool
    measure: Callable[[Any], list[dict[str, Any]]]

    def given(self, data: Any, kind: str) -> Any:
        """What the protocol takes of samples, or of a list of sequences, for an encoder of that kind of data.

        Raises:
            UsageError: it is not there.
        """
        sequences = not isinstance(data, Samples)
        held = str(SEQUENCES) if sequences else data.kind
        wanted = [str(SEQUENCES)] if self.takes == SEQUENCES else [self.takes.kind(one) for one in self.takes.kinds]
        if held not in wanted and (sequences or wanted != ["items"]):
            raise UsageError(f"{self.name} is measured on {self.takes}, not on {held}: give it such data, by itself.")
        if wanted == ["items"]:
            data = data.of(kind)
        return data if sequences else data.serving(self.takes, "the evaluation")


def names() -> list[str]:
    """The names of all protocols in the library."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def find(name: str) -> Protocol:
    """The protocol called `name`, or the one that the Python file at the path `name` holds.

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
        raise UsageError(f"{name} defines no measure(task): a protocol's file does.")
    takes = parse(getattr(module, "TAKES", "items + label"))
    told, answers = (getattr(module, flag, False) for flag in ("TOLD", "ANSWERS"))
    return Protocol(Path(name).stem, takes, told, answers, module.measure)
