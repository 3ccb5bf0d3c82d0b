"""What a kind of data is, besides how its items are decoded: one object for each kind, by name."""

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
"""What an encoder's input is called, the decode parameters that are an item's shape, and what it is made of."""


class Traits:
    """What a kind of data is to the eye, to controls and to a training step. A subclass defines what differs."""

    name: str  # as methods declare it in `needs`
    batch = 64  # items a step by default
    control = "raw"  # what the raw control is called
    alike = False  # whether the raw control's features are standardised by one deviation for all of them
    maps = False  # whether encoders give maps [n, dim, h, w], which retrieval pools
    typed = False  # whether a person can type an item in place of its path
    followed = False  # whether what is marked in an item is followed through it
    length = ""  # the decode parameter that says how long a window is
    tile = (144, 144)  # width and height of an item on a page, in pixels
    input: Input | None = None  # what an encoder takes; None where it is not one tensor
    preparation = ""  # how an item becomes that, exactly, for whoever does it without this library

    def raw(self, samples: Samples, train: Samples | None = None) -> Tensor:
        """The items themselves as float32 [n, d], the mean over their windows: the control that learns nothing.

        Args:
            train: what the features may be derived from, such as the weights of words; by default the items.
        """
        return nets.rows(nn.Identity(), lambda items: items.flatten(1), samples, "cpu")

    def images(self, samples: Samples) -> int:
        """As how many images an item counts, where so many are looked at."""
        return 1

    def lengths(self, decoding: dict[str, Any]) -> list[int]:
        """The shape of an item that an encoder takes, from what it is decoded to."""
        known = data.takes(self.name) | decoding
        return [known[length] for length in self.input[1]] if self.input else []

    def inputs(self, decoding: dict[str, Any]) -> list[dict[str, Any]]:
        """What an encoder takes, ready for JSON: the name, shape, values and preparation of each input."""
        if self.input is None:
            return []
        shape, (name, _, values) = ["n", *self.lengths(decoding)], self.input
        return [{"name": name, "shape": shape, "values": values, "preparation": self.preparation}]

    def noise(self, encoder: Any, shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """What looks like items [n, ...] to the encoder."""
        return torch.rand(tuple(shape), generator=rng)

    def items(self, samples: Any, indices: Sequence[int], encoder: Any) -> list[Item]:
        """Decoded items as `preview` takes them."""
        return list(samples.read(np.asarray(indices)))

    def answered(self, source: Any, load: Callable[[Any, str], Any]) -> Iterator[tuple[str, Any]]:
        """The name of each item of a source, and what `apply_to` takes of it; `load` decodes a source as a kind."""
        samples = load(source, self.name)
        return ((name, self.whole(samples, index)) for index, name in enumerate(samples.names))

    def whole(self, samples: Any, index: int) -> Any:
        """A decoded item as `apply_to` takes it."""
        return torch.from_numpy(samples.whole(index).copy())

    def preview(self, item: Item | None, span: tuple[float, float] | None = None) -> dict[str, Any]:
        """An item for a page: {"image"}, {"text"}, {"sound"} ...; {} if it cannot be read, and its name must do.

        Args:
            span: where the window of it begins and ends that is to be shown, as `Samples.times` has it.
        """
        try:
            return {} if item is None else self.show(item if span is None else self.part(item, *span))
        except (Unreadable, WithholdError):
            return {}

    def part(self, item: Item, start: float, end: float) -> Item:
        """A window of an item, as `show` takes it. Raises: Unreadable."""
        return item

    def when(self, start: float, end: float) -> str:
        """Where a window lies in its item, for a person: "0:12.0-0:17.0"."""
        return f"{clock(start)}-{clock(end)}"

    def show(self, item: Item) -> dict[str, Any]:
        """What `preview` gives of an item that is there. Raises: Unreadable."""
        return {}

    def picture(self, item: Item, side: int) -> Image.Image | None:
        """What an item looks like in `side` pixels squared; None where it has no look. Raises: Unreadable."""
        return None

    def film(self, item: Item) -> tuple[bytes, str] | None:
        """A file that a browser plays, and its media type; None where nothing moves or sounds. Raises: Unreadable."""
        return None

    def words(self, item: Item) -> str:
        """An item as text; nothing where it is none. Raises: Unreadable."""
        return ""


def clock(seconds: float) -> str:
    """Minutes and seconds, as "1:05.0"."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths / 10:04.1f}"


class Together(Traits):
    """Several kinds of the same items, such as a video with its sound: to the eye, what the first one is."""

    def __init__(self, name: str):
        self.name, self.parts = name, [of(part) for part in name.split(" + ")]
        first = self.parts[0]
        self.control, self.length, self.tile = first.control, first.length, first.tile

    def raw(self, samples, train=None):
        return torch.cat([part.raw(samples.of(part.name), train and train.of(part.name)) for part in self.parts], dim=1)

    def inputs(self, decoding):
        return [one for part in self.parts for one in part.inputs(decoding)]

    def images(self, samples):
        return self.parts[0].images(samples)

    def whole(self, samples, index):
        return tuple(part[0] for part in samples.batch([index]))

    def items(self, samples, indices, encoder):
        return self.parts[0].items(samples.of(self.parts[0].name), indices, encoder)

    def part(self, item, start, end):
        return self.parts[0].part(item, start, end)

    def show(self, item):
        return self.parts[0].show(item)

    def picture(self, item, side):
        return self.parts[0].picture(item, side)

    def film(self, item):
        return self.parts[0].film(item)


_TRAITS: dict[str, Traits] = {}


def register(cls: type[Traits]) -> type[Traits]:
    """Declare a class as the traits of the kind of data that it names."""
    _TRAITS[cls.name] = cls()
    return cls


def of(name: str) -> Traits:
    """The traits of the kind called `name`, or of kinds joined by " + ". Raises: UsageError, if there are none."""
    if " + " in name:
        return Together(name)
    if name not in _TRAITS:
        raise UsageError(f"There is no kind of data {name!r}: {suggestion(name, _TRAITS)}")
    return _TRAITS[name]


def previews(rows: pyarrow.Table, kind: str, source: Any) -> list[dict[str, Any]]:
    """What a page shows of the items that `rows` name (path, and of windows start and end): the name, and `preview`.

    Items are looked for in `source`, as `data.items` does.
    """
    shown, cells, found = of(kind), [], rows.to_pylist()
    for row, item in zip(found, data.items(source, rows["path"].to_pylist(), kind), strict=True):
        span = (row["start"], row["end"]) if "start" in row else None
        name = row["path"] + (f" {shown.when(*span)}" if span else "")
        cells.append({"name": name} | shown.preview(item, span))
    return cells
