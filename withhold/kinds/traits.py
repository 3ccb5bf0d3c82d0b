"""Traits of a kind of data, other than its decoding: one object for each kind, by name."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow
import torch
from PIL import Image
from torch import Tensor, nn

from withhold import data, nets
from withhold.data import Samples
from withhold.data.kind import Item, Unreadable
from withhold.errors import UsageError, WithholdError, suggestion

Input = tuple[str, tuple[str, ...], str]
"""Of an encoder's input: its name, the decoding parameters that are the shape of an item, and its values."""


class Traits:
    """The display, the controls and the training defaults of a kind of data. A subclass overrides what differs."""

    name: str  # as methods declare it in `needs`
    batch = 64  # default batch size
    control = "raw"  # the name of the raw control
    alike = False  # whether the raw control's features are standardised by one common deviation
    maps = False  # whether encoders give maps [n, dim, h, w], which retrieval pools
    typed = False  # whether the user can type an item instead of giving its path
    followed = False  # whether marks in an item are tracked through it
    length = ""  # the decoding parameter that sets the length of a window
    tile = (144, 144)  # width and height of an item on a page, in pixels
    input: Input | None = None  # the encoder's input; None if it is not one tensor
    preparation = ""  # the exact preprocessing of an item, for use without this library

    def raw(self, samples: Samples, train: Samples | None = None) -> Tensor:
        """The items themselves as float32 [n, d], the mean over their windows: the control without learning.

        Args:
            train: the data that statistics of the features, such as word weights, come from; by default `samples`.
        """
        return nets.rows(nn.Identity(), lambda items: items.flatten(1), samples, "cpu")

    def images(self, samples: Samples) -> int:
        """The number of images that an item counts as, where the number of images is limited."""
        return 1

    def lengths(self, decoding: dict[str, Any]) -> list[int]:
        """The shape of an item of the encoder's input, from its decoding parameters."""
        known = data.takes(self.name) | decoding
        return [known[length] for length in self.input[1]] if self.input else []

    def inputs(self, decoding: dict[str, Any]) -> list[dict[str, Any]]:
        """The encoder's inputs, ready for JSON: the name, shape, values and preparation of each."""
        if self.input is None:
            return []
        shape, (name, _, values) = ["n", *self.lengths(decoding)], self.input
        return [{"name": name, "shape": shape, "values": values, "preparation": self.preparation}]

    def noise(self, encoder: Any, shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """Random inputs [n, ...] of the encoder, in the form of items."""
        return torch.rand(tuple(shape), generator=rng)

    def items(self, samples: Any, indices: Sequence[int], encoder: Any) -> list[Item]:
        """Decoded items, for `preview`."""
        return list(samples.read(np.asarray(indices)))

    def answered(self, source: Any, load: Callable[[Any, str], Any]) -> Iterator[tuple[str, Any]]:
        """The name of each item of a source, and the item for `apply_to`; `load` decodes a source as a kind."""
        samples = load(source, self.name)
        return ((name, self.whole(samples, index)) for index, name in enumerate(samples.names))

    def whole(self, samples: Any, index: int) -> Any:
        """A decoded item, for `apply_to`."""
        return torch.from_numpy(samples.whole(index).copy())

    def preview(self, item: Item | None, span: tuple[float, float] | None = None) -> dict[str, Any]:
        """An item for a page: {"image"}, {"text"}, {"sound"} ...; {} if it cannot be read, so that only its name shows.

        Args:
            span: start and end of the window to show, as in `Samples.times`.
        """
        try:
            return {} if item is None else self.show(item if span is None else self.part(item, *span))
        except (Unreadable, WithholdError):
            return {}

    def part(self, item: Item, start: float, end: float) -> Item:
        """A window of an item, for `show`. Raises: Unreadable."""
        return item

    def when(self, start: float, end: float) -> str:
        """The span of a window in its item, for display: "0:12.0-0:17.0"."""
        return f"{clock(start)}-{clock(end)}"

    def show(self, item: Item) -> dict[str, Any]:
        """The item for a page, as `preview` returns it. Raises: Unreadable."""
        return {}

    def picture(self, item: Item, side: int) -> Image.Image | None:
        """A picture of an item of at most `side` x `side` pixels; None if it cannot be drawn. Raises: Unreadable."""
        return None

    def film(self, item: Item) -> tuple[bytes, str] | None:
        """A file that a browser plays, and its media type; None if there is nothing to play. Raises: Unreadable."""
        return None

    def words(self, item: Item) -> str:
        """An item as text; "" if it is not a text. Raises: Unreadable."""
        return ""


def clock(seconds: float) -> str:
    """Minutes and seconds, as "1:05.0"."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths / 10:04.1f}"


FIRST = ("control", "length", "tile", "images", "part", "when", "show", "picture", "film", "words")
"""The traits that several kinds together have from the first of them."""


class Together(Traits):
    """Several kinds for the same items, such as a video with its sound. It is displayed as its first kind."""

    def __init__(self, name: str):
        self.name, self.parts = name, [of(part) for part in name.split(" + ")]
        for trait in FIRST:
            setattr(self, trait, getattr(self.parts[0], trait))

    def raw(self, samples, train=None):
        return torch.cat([part.raw(samples.of(part.name), train and train.of(part.name)) for part in self.parts], dim=1)

    def inputs(self, decoding):
        return [one for part in self.parts for one in part.inputs(decoding)]

    def whole(self, samples, index):
        return tuple(part[0] for part in samples.batch([index]))

    def items(self, samples, indices, encoder):
        return self.parts[0].items(samples.of(self.parts[0].name), indices, encoder)


_TRAITS: dict[str, Traits] = {}


def register(cls: type[Traits]) -> type[Traits]:
    """Register a class as the traits of the kind of data in its `name`."""
    _TRAITS[cls.name] = cls()
    return cls


def of(name: str) -> Traits:
    """The traits of the kind called `name`, or of kinds joined by " + ". Raises: UsageError, if it does not exist."""
    if " + " in name:
        return Together(name)
    if name not in _TRAITS:
        raise UsageError(f"There is no kind of data {name!r}: {suggestion(name, _TRAITS)}")
    return _TRAITS[name]


def previews(rows: pyarrow.Table, kind: str, source: Any) -> list[dict[str, Any]]:
    """The cells of a page for the items in `rows` (path, and for windows start and end): their names and previews.

    Items are looked up in `source` with `data.items`.
    """
    shown, cells, found = of(kind), [], rows.to_pylist()
    for row, item in zip(found, data.items(source, rows["path"].to_pylist(), kind), strict=True):
        span = (row["start"], row["end"]) if "start" in row else None
        name = row["path"] + (f" {shown.when(*span)}" if span else "")
        cells.append({"name": name} | shown.preview(item, span))
    return cells
