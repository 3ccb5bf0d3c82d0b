"""Conversion to and from Hugging Face `datasets`."""

import copy
import os
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from withhold.data import images
from withhold.data.arrays import pixels
from withhold.data.kind import Item, Kind, Table, Unreadable
from withhold.data.manifests import LABELS, find
from withhold.data.tables import digest, file_stamp, told_apart
from withhold.errors import WithholdError

if TYPE_CHECKING:
    import datasets


class Hub(Table):
    """A `datasets.Dataset` with a column of one kind of data: a Hugging Face feature, bytes, paths, pixels or texts."""

    def __init__(self, dataset: "datasets.Dataset", kind: type[Kind]):
        import datasets

        features = dataset.features
        own = {"image": "Image", "audio": "Audio", "video": "Video"}.get(kind.name, "")
        typed = [name for name, feature in features.items() if type(feature).__name__ == own]
        classed = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        self.item = find(kind.columns, typed) or (typed[0] if typed else kind.item_column("The dataset", features))
        self.label = find(LABELS, classed) or next(iter(classed), None) or find(LABELS, features)
        if self.label and not isinstance(features[self.label], datasets.ClassLabel | datasets.Value):
            self.unlabelled, self.label = f"its column {self.label} holds no classes", None
        self.classes = tuple(features[self.label].names) if self.label in classed else ()
        for name, feature in features.items():
            if hasattr(feature, "decode"):  # images, sounds and videos
                dataset = dataset.cast_column(name, type(feature)(decode=False))
        self.dataset = dataset.with_format(None)
        self.holds_paths = kind.name != "text"

    def __len__(self):
        return len(self.dataset)

    @property
    def columns(self):
        return list(self.dataset.column_names)

    @property
    def labels(self):
        return self._column(self.label) if self.label else None

    def _column(self, name):
        return list(self.dataset[name])

    def names(self):
        if not self.holds_paths:
            return super().names()
        names = [path or str(row) for row, path in enumerate(self._paths)]
        only_paths = getattr(self.dataset.features[self.item], "dtype", "") == "string"
        return names if only_paths else told_apart(names)

    def items(self, indices):
        return [_item(value) for value in self.dataset[list(indices)][self.item]]

    def over(self, column: str) -> "Hub":
        """The same rows, without labels; their items are the files or pixels in another column."""
        other = copy.copy(self)
        other.__dict__.pop("_paths", None)  # cached
        other.item, other.label, other.classes, other.holds_paths = column, None, (), True
        return other

    def stamp(self):
        about = f"{self.dataset._fingerprint} {self.item} {self.label}"
        listed = [path for path in self._paths if os.path.isfile(path)] if self.holds_paths else []
        return digest(None, [about, *map(file_stamp, listed)]) if listed else about

    @cached_property
    def _paths(self) -> list[str]:
        """The path of each item; "" if it has none."""
        only = self.dataset.select_columns([self.item]).flatten()  # a column for each part, so that bytes are not read
        name = next((name for name in only.column_names if name in (self.item, f"{self.item}.path")), None)
        if name is None or getattr(only.features[name], "dtype", "") != "string":
            return [""] * len(only)
        return [path or "" for path in only[name]]


def fetch(name: str) -> "datasets.Dataset | datasets.DatasetDict":
    """Load the dataset NAME or NAME:CONFIGURATION from the hub, or from a local folder."""
    import datasets

    name, _, configuration = name.partition(":")
    try:
        if (Path(name) / "dataset_dict.json").is_file() or (Path(name) / "state.json").is_file():
            return datasets.load_from_disk(name)
        return datasets.load_dataset(name, configuration or None)
    except Exception as error:  # the hub, the network and the builder raise many classes
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise WithholdError(f"hf:{name} could not be loaded: {reason}.") from error


def as_dataset(table: Table, labels: np.ndarray | None, classes: tuple[str, ...], stamp: str) -> "datasets.Dataset":
    """Convert a table to a Dataset with the columns image (undecoded), name, and label if there are labels.

    It is written piece by piece to Hugging Face's own cache, and memory-mapped.
    """
    import datasets

    features = {"image": datasets.Image(decode=False), "name": datasets.Value("string")}
    if labels is not None:
        features["label"] = datasets.ClassLabel(names=list(classes))

    def rows() -> Iterator[dict[str, Any]]:
        for row, (name, item) in enumerate(zip(table.names(), chain.from_iterable(table.chunks(256)), strict=True)):
            label = {} if labels is None else {"label": int(labels[row]) if labels[row] >= 0 else None}
            yield {"image": _struct(item, name), "name": name, **label}

    return datasets.Dataset.from_generator(rows, features=datasets.Features(features), fingerprint=stamp)


def _struct(item: Item, name: str) -> dict[str, Any]:
    if isinstance(item, str):
        return {"bytes": None, "path": item}
    if callable(item):
        try:
            item = item()
        except Unreadable:
            item = b""
    return {"bytes": images.encode(item) if isinstance(item, np.ndarray) else item, "path": name}


def _item(value: Any) -> Item:
    if isinstance(value, dict):
        return value["bytes"] if value["bytes"] is not None else value["path"] or b""
    if isinstance(value, str | bytes):
        return value
    if value is None:
        return b""
    return pixels(value)
