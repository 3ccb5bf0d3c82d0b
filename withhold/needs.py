"""The declaration of a method's stream: a kind of data and the parts that belong to each item."""

from dataclasses import dataclass

from withhold.errors import UsageError, suggestion

PARTS = ("label", "targets", "mask", "boxes", "points", "poses", "number", "domain")
"""The parts of an item: its class int64 [n]; further columns by name {column: int64 [n] classes or float32 [n]};
a mask uint8 [n, h, w], `IGNORED` where no class is known; boxes float32 [n, m, 6] (left, top, right, bottom in pixels,
the class, and 0, `DIFFICULT` or `CROWD`; NaN where there are fewer); points float32 [n, m, 2] (x, y in pixels, NaN
where one is missing); the numbers of a pose float32 [n, d]; its own number in the stream int64 [n]; the number of its
source int64 [n]."""


IGNORED = 255
"""The value of a mask's pixels that belong to no class, as in Pascal VOC."""
DIFFICULT, CROWD = 1, 2
"""Boxes that an evaluation ignores: hard to see (Pascal VOC), or around many objects (COCO)."""
VISIBLE = 1 / 4
"""The least visible share of a box's area."""


@dataclass(frozen=True)
class Need:
    """The contents of a stream, parsed from text such as "image", "image | text + label" or "video + audio".

    A batch is the data of the kind, or a tuple of these, of each further kind, and of each part, in this order.

    Attributes:
        kinds: the kind of data; if there are several alternatives, the data decide.
        beside: further kinds of the same items, such as the sound of a video.
        parts: parts of each item, from `PARTS`.
    """

    kinds: tuple[str, ...]
    beside: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " + ".join((" | ".join(self.kinds), *self.beside, *self.parts))

    @property
    def labelled(self) -> bool:
        """Whether a batch has the class of each item."""
        return "label" in self.parts

    @property
    def teaches(self) -> bool:
        """Whether a batch has the targets of each item: its class, columns, mask or boxes."""
        return self.labelled or bool({"mask", "boxes", "targets"} & set(self.parts))

    @property
    def several(self) -> bool:
        """Whether the stream takes several sources, each a domain."""
        return "domain" in self.parts

    def kind(self, chosen: str | None = None) -> str:
        """The kind of its samples: one kind, or kinds joined by " + "; `chosen` is one of several alternatives."""
        return " + ".join((chosen or self.kinds[0], *self.beside))


def parse(text: str) -> Need:
    """Parse a stream's declaration: kinds and parts joined by " + ", alternatives of the first kind by " | ".

    A word that is not a part is the name of a kind of data.
    """
    first, *rest = (word.strip() for word in text.split("+"))
    kinds = tuple(word.strip() for word in first.split("|"))
    wrong = [word for word in (*kinds, *rest) if not word]
    if wrong or set(kinds) & set(PARTS):
        raise UsageError(f"A stream cannot hold {text!r}. Begin with a kind of data, as in 'image + label'.")
    beside = tuple(word for word in rest if word not in PARTS)
    parts = tuple(word for word in rest if word in PARTS)
    if rest != [*beside, *parts]:
        raise UsageError(f"A stream cannot hold {text!r}. Give kinds of data first, then {suggestion('', PARTS)}")
    return Need(kinds, beside, parts)
