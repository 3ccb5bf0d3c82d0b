"""Types of the outputs of a trained method, and of the inputs it may need besides a sample. A text is a plain `str`."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Image:
    """An image float [c, h, w] in [0, 1], or uint8; c is 1 or 3.

    Attributes:
        legend: the classes drawn in the image, each with the number of its colour in `pictures.PALETTE`.
    """

    pixels: Tensor
    legend: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """Frames float [t, c, h, w] in [0, 1], or uint8, and the frame rate in frames per second."""

    frames: Tensor
    fps: float


@dataclass(frozen=True)
class Sound:
    """Samples float [s] in [-1, 1], and the sampling rate in Hz."""

    samples: Tensor
    rate: int


@dataclass(frozen=True)
class Mask:
    """Labels int [h, w], or [t, h, w] of a video, 0 for background; and a palette [r, g, b, r, ...], None for grey."""

    labels: Tensor
    palette: list[int] | None = None


@dataclass(frozen=True)
class Points:
    """Names, and the position (x, y) of each in pixels of the input: float [k, 2], or [t, k, 2] for a video."""

    names: list[str]
    places: Tensor


@dataclass(frozen=True)
class Boxes:
    """Names, scores, and boxes (left, top, right, bottom) in pixels of the input: float [m, 4]."""

    names: list[str]
    scores: list[float]
    corners: Tensor


@dataclass(frozen=True)
class Words:
    """Words with their scores, best first."""

    scored: list[tuple[str, float]]


@dataclass(frozen=True)
class Mesh:
    """A surface: vertices float [v, 3], and triangles int [f, 3] of vertex indices, counted from 0."""

    vertices: Tensor
    faces: Tensor


@dataclass(frozen=True)
class Class:
    """A predicted class: its name, its probability in [0, 1], and the probabilities of all classes by name.

    Attributes:
        told: whether the sample's label was given in training; None if unknown.
    """

    name: str
    probability: float
    shares: dict[str, float] = field(default_factory=dict)
    told: bool | None = None


Answer = Image | Clip | Sound | Mask | Points | Boxes | Words | Mesh | Class | str
