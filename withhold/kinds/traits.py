"""What a kind of data is, besides how its items are decoded: one object for each kind, by name."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from withhold import nets, views
from withhold.data import Samples
from withhold.data.kind import Item, Unreadable
from withhold.errors import UsageError, WithholdError, suggestion
from withhold.nets import Encoder


class Input(NamedTuple):
    """What an ONNX encoder takes: its input's name, the decode parameters that are an item's shape, and its content."""

    name: str
    lengths: tuple[str, ...]
    content: str


class Traits:
    """What a kind of data is to the eye, to controls and to a training step. A subclass defines what differs.

    Attributes:
        name: of the kind, as methods declare it in `needs` and `data.kind.Kind` has it.
        batch: items a step by default.
        control: what the raw control is called.
        alike: whether the raw control's features are standardised by one deviation for all of them.
        maps: whether its encoders give maps [n, dim, h, w], which retrieval pools.
        typed: whether a person can type an item instead of its path.
        length: the decode parameter that says how long a window is; "" where there are no windows.
        tile: width and height of an item on a page, in pixels.
        input: what an ONNX encoder takes; None where none is written.
    """

    name: str
    batch: int = 64
    control: str = "raw"
    alike: bool = False
    maps: bool = False
    typed: bool = False
    length: str = ""
    tile: tuple[int, int] = (144, 144)
    input: Input | None = None

    def raw(self, samples: Samples, train: Samples | None = None) -> Tensor:
        """The items themselves as float32 [n, d], the mean over their windows: the control that learns nothing.

        Args:
            train: what the features may be derived from, such as the weights of words; by default the items.
        """
        return nets.rows(nn.Identity(), lambda items: items.flatten(1).float(), samples, "cpu")

    def change(self, items: Any, encoder: Encoder, rng: torch.Generator) -> Any:
        """What `data` gives of a batch -> a random view that `encoder` takes, in which a class stays what it is."""
        return views.to_float(items)

    def images(self, samples: Samples) -> int:
        """As how many images an item counts in a batch."""
        return 1

    def noise(self, encoder: Encoder, shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """What looks like items [n, ...] to the encoder."""
        return torch.rand(tuple(shape), generator=rng)

    def items(self, samples: Samples, indices: Sequence[int], encoder: Encoder) -> list[Item]:
        """Decoded items as `show` takes them."""
        return list(samples.read(torch.as_tensor(indices).numpy()))

    def preview(self, item: Item | None) -> dict[str, Any]:
        """An item for a page: {"image"}, {"text"}, {"sound"} ...; {} if it cannot be read, and its name must do."""
        try:
            return {} if item is None else self.show(item)
        except (Unreadable, WithholdError):
            return {}

    def show(self, item: Item) -> dict[str, Any]:
        """What `preview` gives of an item that is there. Raises: Unreadable."""
        return {}


class Together(Traits):
    """Several kinds of the same items, such as a video with its sound: to the eye, what the first one is."""

    def __init__(self, name: str):
        self.name, self.parts = name, [of(part) for part in name.split(" + ")]
        first = self.parts[0]
        self.control, self.length, self.tile = first.control, first.length, first.tile

    def raw(self, samples, train=None):
        return torch.cat([part.raw(samples.of(part.name), train and train.of(part.name)) for part in self.parts], dim=1)

    def change(self, items, encoder, rng):
        return tuple(part.change(half, encoder, rng) for part, half in zip(self.parts, items, strict=True))

    def images(self, samples):
        return self.parts[0].images(samples)

    def items(self, samples, indices, encoder):
        return self.parts[0].items(samples.of(self.parts[0].name), indices, encoder)

    def show(self, item):
        return self.parts[0].show(item)


_TRAITS: dict[str, Traits] = {}


def register(cls: type[Traits]) -> type[Traits]:
    """Declare a class as the traits of the kind of data that it names."""
    _TRAITS[cls.name] = cls()
    return cls


def of(name: str) -> Traits:
    """The traits of the kind called `name`, or of kinds joined by " + ".

    Raises:
        UsageError: nobody has registered them.
    """
    if " + " in name:
        return Together(name)
    if name not in _TRAITS:
        raise UsageError(f"There is no kind of data {name!r}: {suggestion(name, _TRAITS)}")
    return _TRAITS[name]
