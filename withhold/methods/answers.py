"""What a trained method gives a person, and what it may ask for besides an item. A text is simply a `str`."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Image:
    """An image float [c, h, w] in [0, 1], or uint8; c is 1 or 3.

    Attributes:
        legend: the classes that are drawn in it, each with the number of its colour in `pictures.PALETTE`.
    """

    pixels: Tensor
    legend: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """Frames float [t, c, h, w] in [0, 1], or uint8, and how many of them make a second."""

    frames: Tensor
    fps: float


@dataclass(frozen=True)
class Sound:
    """Samples float [s] in [-1, 1], and how many of them make a second."""

    samples: Tensor
    rate: int


@dataclass(frozen=True)
class Mask:
    """Labels int [h, w], or [t, h, w] of a video's frames, 0 for nothing; their colours [r, g, b, r, ...], or grey."""

    labels: Tensor
    palette: list[int] | None = None


@dataclass(frozen=True)
class Points:
    """Names, and for each a place (x, y) in pixels of the item: float [k, 2], or [t, k, 2] of a video's frames."""

    names: list[str]
    places: Tensor


@dataclass(frozen=True)
class Boxes:
    """Names, scores, and a box (left, top, right, bottom) in pixels of the item for each: float [m, 4]."""

    names: list[str]
    scores: list[float]
    corners: Tensor


@dataclass(frozen=True)
class Words:
    """Words with their scores, the best first."""

    scored: list[tuple[str, float]]


@dataclass(frozen=True)
class Mesh:
    """A surface: vertices float [v, 3], and triangles int [f, 3] of their numbers from 0."""

    vertices: Tensor
    faces: Tensor


@dataclass(frozen=True)
class Class:
    """A class by name, its probability in [0, 1], and those of all classes by name.

    Attributes:
        told: whether the training was told the item's label; None where that is not known.
    """

    name: str
    probability: float
    shares: dict[str, float] = field(default_factory=dict)
    told: bool | None = None


Answer = Image | Clip | Sound | Mask | Points | Boxes | Words | Mesh | Class | str
