"""Egomotion: predicts how the camera moved."""

import math
from typing import Annotated

import torch
from torch.nn import functional as F

from withhold import views
from withhold.methods import Fraction, ImageEncoder, Method, Range, Several, accuracy, method
from withhold.nets import mlp

AXES = ("right", "down", "turn")
JITTER = (0.4, 0.4, 0.4, 0.1)
MOST_CELLS = 8
"""Maximum number of places along each side of a map; every place is compared with all places of the other map."""


@method(paper="Agrawal, Carreira & Malik, ICCV 2015", needs={"images": "image"}, family="verify")
class Egomotion(Method):
    """Withholds the camera's motion between two views of an image; predicts the interval of the motion on each axis.

    The camera sees a square of the image, moves right and down and turns, as in the paper's section 4.1. Instead of
    driving videos, a window moves over photographs. One encoder sees both views, and a small network compares its two
    maps. Shortcuts that do not require the content are removed: borders (both views lie inside the image), sharpness
    (both views are resampled once, each at its own angle) and differences of pixels (each view has its own brightness,
    contrast and colours).

    Args:
        shift: maximum move along either axis, as a share of the view's side.
        degrees: maximum turn to either side, in degrees.
        shifts: number of ranges into which moves are divided, on each of the two axes.
        turns: number of ranges into which turns are divided.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        shift: Fraction = 0.2,
        degrees: Annotated[float, Range(above=0, most=45)] = 30.0,
        shifts: Several = 7,
        turns: Several = 20,
    ):
        super().__init__(encoder)
        self.shift, self.degrees, self.ranges = shift, degrees, (shifts, shifts, turns)
        # The view's side, as a share of the image's: its corners stay inside at the largest turn, move and offset.
        self.share = (1 - 1 / encoder.size) / (extent(degrees) + shift * extent(degrees / 2) + shift)
        if encoder.grid < 2:
            raise ValueError(
                f"the encoder's map has a single cell at {encoder.size} pixels, so it shows no motion: give a larger "
                "--size, or another --encoder."
            )
        self.cells = min(encoder.grid, MOST_CELLS)
        self.top = mlp([self.cells**4, 512, sum(self.ranges)])

    def withhold(self, images):
        """uint8 [n, c, h, w] -> views before and after, float [2n, c, size, size]; the range on each axis [n, 3]."""
        whole = views.augment(images, self.rng, size=self.encoder.size)
        n, like = len(whole), {"generator": self.rng, "device": whole.device}
        chosen = torch.stack([torch.randint(count, (n,), **like) for count in self.ranges], 1)
        motion = 2 * (chosen + torch.rand(n, 3, **like)) / torch.tensor(self.ranges, device=whole.device) - 1
        middle = torch.rand(n, 3, **like) - 0.5
        # Places are complex numbers, right + down * i in sides of a view; a factor exp(angle * i) turns clockwise.
        (x, y, turn), (left, top, tilt) = motion.unbind(1), middle.unbind(1)
        place, tilt = self.shift * torch.complex(left, top), math.radians(self.degrees) * tilt
        move, turn = self.shift * torch.complex(x, y) * (1j * tilt).exp(), math.radians(self.degrees) * turn
        before = self.look(whole, place - move / 2, tilt - turn / 2)
        return torch.cat([before, self.look(whole, place + move / 2, tilt + turn / 2)]), chosen

    def predict(self, both):
        maps = F.adaptive_avg_pool2d(self.encoder.maps(both), self.cells).flatten(2)
        before, after = F.normalize(maps - maps.mean(2, keepdim=True), dim=1).chunk(2)
        return self.top(torch.einsum("ncp,ncq->npq", before, after).flatten(1))

    def loss(self, scores, chosen):
        axes = list(zip(AXES, scores.split(self.ranges, 1), chosen.unbind(1), strict=True))
        return {
            "loss": sum(F.cross_entropy(said, true) for _, said, true in axes),
            **{f"{axis}_accuracy": accuracy(said, true) for axis, said, true in axes},
            "trivial": sum(map(math.log, self.ranges)),
        }

    def picture(self, both, chosen, scores=None):
        columns = {"seen": views.board(torch.stack(both.chunk(2), 1), 2), "true": self.captions(chosen)}
        if scores is not None:
            columns["said"] = self.captions(torch.stack([part.argmax(1) for part in scores.split(self.ranges, 1)], 1))
        return columns

    def look(self, images, place, turn):
        """The camera's views of images float [n, c, size, size] at complex places [n], turned by radians [n]."""
        gaze, place = self.share * (1j * turn).exp(), self.share * self.encoder.size * place
        matrices = torch.stack([gaze.real, -gaze.imag, place.real, gaze.imag, gaze.real, place.imag], 1).view(-1, 2, 3)
        return views.augment(views.warp(images, matrices), self.rng, flip=0.0, jitter=JITTER)

    def captions(self, chosen):
        """Ranges [n, 3] -> the middle of each, moves in percent of the view's side and turns in degrees."""
        largest = torch.tensor([100 * self.shift, 100 * self.shift, self.degrees])
        middles = largest * (2 * (chosen.cpu() + 0.5) / torch.tensor(self.ranges) - 1)
        return [f"{x:+.0f} {y:+.0f} {turn:+.0f}°" for x, y, turn in middles.tolist()]


def extent(degrees: float) -> float:
    """Width of an upright square around a square of width 1 that is turned by 0 to 45 degrees."""
    return math.cos(math.radians(degrees)) + math.sin(math.radians(degrees))
