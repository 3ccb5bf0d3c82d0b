"""The files that a page saves in its folder and reuses."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from withhold import nets
from withhold.console import counted
from withhold.data import Samples
from withhold.exploring import atlas
from withhold.files import read_json, write_json, writing
from withhold.runs import Embedder
from withhold.training import defaults

log = logging.getLogger("withhold")

FILE, LABELS = "explore.json", "labels.csv"


class Kept:
    """The files of a page's folder, except its labels.

    `FILE` records the encoder that is shown, the encoder that the user gave, and what features and map belong to.
    features.npy and map.npz hold features and map; curve.json holds the accuracy by number of labels.
    """

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / FILE
        self.about: dict[str, Any] = _json(self.file, dict)
        self.curve: list[dict[str, Any]] = _json(folder / "curve.json", list)

    def shown(self, asked: str) -> str:
        """The encoder to show when the user gives `asked`: the one that was last shown with it, if any."""
        last = self.about.get("shown")
        return last if self.about.get("asked") == asked and last and Path(last).exists() else asked

    def runs(self) -> list[str]:
        """The encoder that the user gave, and the finished runs that were trained here."""
        found = [path.parent for path in (self.folder / "runs").glob("*/encoder.safetensors")]
        return [self.about["asked"], *sorted(map(str, found))]

    def begin(self, asked: str) -> None:
        """Record the encoder that the user gave."""
        self._note(asked=asked)

    def features(self, run: Embedder, samples: Samples) -> Tensor:
        """The features of all items by the encoder of a run, float32 [n, d], loaded if they are saved."""
        path, of = self.folder / "features.npy", [run.digest, samples.stamp]
        known = _read(path, np.load) if self.about.get("features") == of else None
        if known is not None:
            self._note(shown=str(run.name))
            return torch.from_numpy(known)
        log.info("embedding %s with %s", counted(len(samples), "item"), run.name)
        found = nets.features(run.encoder, samples, device=defaults.device())
        self._note(features=None)  # until they are replaced
        with writing(path) as partial, open(partial, "wb") as file:
            np.save(file, found.numpy())
        self._note(features=of, shown=str(run.name))
        return found

    def places(self, names: Sequence[str], parts: Tensor) -> np.ndarray | None:
        """The positions of the items on the saved map; None if there is none that fits."""
        return _read(self.folder / "map.npz", lambda path: atlas.kept(path, names, parts))

    def keep_places(self, names: Sequence[str], places: np.ndarray) -> None:
        """Save a map of the saved features."""
        atlas.keep(self.folder / "map.npz", names, places)
        self._note(drawn=self.about["features"])

    @property
    def drawn(self) -> bool:
        """Whether the saved map belongs to the saved features."""
        return self.about.get("drawn") == self.about["features"]

    def add(self, point: dict[str, Any]) -> None:
        """Add a point to the accuracy curve; it replaces points of the same run with as many or more labels."""
        older = [old for old in self.curve if old["run"] != point["run"] or old["labels"] < point["labels"]]
        self.curve = [*older, point]
        write_json(self.folder / "curve.json", self.curve)

    def _note(self, **about: Any) -> None:
        self.about |= about
        write_json(self.file, self.about)


def free(path: Path) -> Path:
    """The first of path-1, path-2 ... that does not exist."""
    number = 1
    while (place := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return place


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    """Read a file; None if it is missing or damaged, since it can be computed again."""
    try:
        return read(path) if path.is_file() else None
    except Exception as error:  # numpy and zipfile raise many classes
        log.warning("%s is damaged (%s) and will be computed again", path, error)
        return None


def _json(path: Path, kind: type) -> Any:
    """The content of a JSON file, or an empty one if it is missing. Raises: WithholdError: it is damaged."""
    return read_json(path, "Delete it; labels are in another file.", kind) if path.is_file() else kind()
