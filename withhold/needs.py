"""What a stream of a method holds: a kind of data, and what belongs to each item. Declared as text, parsed once."""

from dataclasses import dataclass

from withhold.errors import UsageError, suggestion

PARTS = ("label", "targets", "mask", "boxes", "points", "poses", "number", "domain")
"""What may belong to an item: its class int64 [n]; further columns by name {column: int64 [n] classes or float32 [n]};
a mask uint8 [n, h, w], `IGNORED` where no class is known; boxes float32 [n, m, 6] (left, top, right, bottom in pixels,
the class, and 0, `DIFFICULT` or `CROWD`; NaN where there are fewer); points float32 [n, m, 2] (x, y in pixels, NaN
where one is missing); the numbers of a pose float32 [n, d]; its own number in the stream int64 [n]; the number of its
source int64 [n]."""


IGNORED = 255
"""The number of a mask's pixels that belong to no class, as in Pascal VOC."""
DIFFICULT, CROWD = 1, 2
"""What a box is that is neither to be found nor wrong: hard to see (Pascal VOC), or one around many things (COCO)."""
VISIBLE = 1 / 4
"""The least share of a box's area that must be seen of it."""


@dataclass(frozen=True)
class Need:
    """What a stream holds, as `parse` reads it from text such as "image", "image | text + label" or "video + audio".

    A batch of it is what the kind gives, or a tuple of that, of each kind beside it, and of each part, in this order.

    Attributes:
        kinds: the kind of data; of several, the data decide which one it is.
        beside: further kinds of the same items, such as the sound of a video.
        parts: what belongs to each item, of `PARTS`.
    """

    kinds: tuple[str, ...]
    beside: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " + ".join((" | ".join(self.kinds), *self.beside, *self.parts))

    @property
    def labelled(self) -> bool:
        """Whether each item comes with its class."""
        return "label" in self.parts

    @property
    def teaches(self) -> bool:
        """Whether each item comes with what is to be named: its class, its columns, its mask or its boxes."""
        return self.labelled or bool({"mask", "boxes", "targets"} & set(self.parts))

    @property
    def several(self) -> bool:
        """Whether the stream takes several sources, each a domain."""
        return "domain" in self.parts

    def kind(self, chosen: str | None = None) -> str:
        """What its samples are called: a kind, or kinds joined by " + "; `chosen` is one of several alternatives."""
        return " + ".join((chosen or self.kinds[0], *self.beside))


def parse(text: str) -> Need:
    """Read a stream's declaration: kinds and parts joined by " + ", alternatives of the first kind by " | ".

    Whatever is no part is the name of a kind of data.
    """
    first, *rest = (word.strip() for word in text.split("+"))
    kinds = tuple(word.strip() for word in first.split("|"))
    wrong = [word for word in (*kinds, *rest) if not word]
    if wrong or set(kinds) & set(PARTS):
        raise UsageError(f"A stream cannot hold {text!r}: begin with a kind of data, as in 'image + label'.")
    beside = tuple(word for word in rest if word not in PARTS)
    parts = tuple(word for word in rest if word in PARTS)
    if rest != [*beside, *parts]:
        raise UsageError(f"A stream cannot hold {text!r}: name kinds of data first, then {suggestion('', PARTS)}")
    return Need(kinds, beside, parts)
