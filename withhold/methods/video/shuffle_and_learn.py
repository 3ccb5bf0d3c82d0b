"""Shuffle and learn."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import Count, ImageEncoder, Method, Positive, Several, method

SURVEYED = 256
SMALL = 16
"""Size to which frames are reduced to detect motion, so that codec and sensor noise in single pixels does not count."""
STILL = 1 / 255
"""The mean difference of two frames, on a scale of [0, 1], below which they count as equal."""
BLANK, FADED = 0.1, 0.25
"""Shares of a clip's highest contrast below which a frame is blank: any frame, or one with deviating brightness."""
STRAYS = 0.2
"""Deviation of a frame's brightness, as a share of the clip's mean, up to which the jitter of frames hides it."""


def lengths(clips: Tensor) -> Tensor:
    """Clips float [n, t, c, h, w] -> mean length of the optical flow between successive frames [n, t - 1] in pixels."""
    return views.flow(clips).norm(dim=2).mean((2, 3))


@method(paper="Misra, Zitnick & Hebert, ECCV 2016", needs={"videos": "video"}, family="verify")
class ShuffleAndLearn(Method):
    """Withholds whether three frames of a video are in order; predicts it.

    Of five frames a < b < c < d < e, (b, c, d) is in order; (b, a, d) and (b, e, d) are not. The outer frames are the
    same in both, so only the middle one decides. Frames are sampled where something moves, and a or e are preferred the
    more they differ from the others. A clip in which two of the frames are equal is left out. Blank frames, which would
    give the answer away, are not sampled either. Both directions of time count as in order and are equally frequent.
    Each frame has its own crop and colour jitter, so that neither brightness nor static content shows which frames are
    neighbours. A change of overall brightness does not count as motion. The mean of the three frames' codes, which
    represents the scene, is subtracted before they are compared.

    The paper measures motion by optical flow, and uses three wrong triples for each correct one and 227 pixels. Here
    motion is the difference of frames, unless `motion` selects otherwise, with one wrong triple for each correct one.

    Args:
        span: maximum distance between the outer frames, in frames.
        gap: minimum distance from an outer frame to the wrong frame outside, in frames.
        motion: measure of motion: the difference of frames ("differences"), or the length of the optical flow ("flow").
        hidden: width of a frame's code and of the layer above.
        frames: frames per clip.
        fps: frames per second.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        span: Several = 8,
        gap: Count = 2,
        motion: Literal["differences", "flow"] = "differences",
        hidden: Count = 128,
        frames: Count = 16,
        fps: Positive = 10.0,
    ):
        super().__init__(encoder)
        if frames < gap + 3:
            raise ValueError(f"frames must be at least {gap + 3} with a gap of {gap}, not {frames}.")
        self.span, self.gap = span, gap
        self.moves = {"differences": views.motion, "flow": lengths}[motion]
        self.frame = nn.Sequential(nn.Flatten(), nn.Linear(encoder.dim * encoder.grid**2, hidden), nn.ReLU())
        self.head = nets.mlp((3 * hidden, hidden, 2), norm=False)

    def prepare(self, videos):
        """Check that something moves."""
        parts = self.some(len(videos), SURVEYED).split(16)
        if not any(self.draw(videos.batch(part).to(self.rng.device))[1].any() for part in parts):
            raise UsageError("Nothing moves in these videos, so frames have no order. Lower fps, or learn from images.")

    def withhold(self, videos):
        """Clips uint8 [n, t, c, h, w] -> triples float [2n, 3, c, size, size]; whether they are in order, and weights.

        The first n triples are in order (int64 1), the others are not (0). A clip without motion has weight 0, others
        1.
        """
        places, weight = self.draw(videos)
        rows = torch.arange(len(videos), device=videos.device)
        seen = views.augment(videos[rows[:, None], places], self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        triples = torch.cat([seen[:, :3], seen[:, [0, 3, 2]]])
        mirrored = torch.rand(len(seen), generator=self.rng, device=seen.device).repeat(2) < 0.5
        triples = torch.where(mirrored[:, None, None, None, None], triples.flip(1), triples)
        frames = views.augment(triples.flatten(0, 1), self.rng, flip=0, crop=(0.9, 1.0), jitter=(0.2, 0.2, 0.2, 0.05))
        order = torch.arange(2, device=seen.device).flip(0).repeat_interleave(len(seen))
        return frames.unflatten(0, triples.shape[:2]), (order, weight.repeat(2))

    def draw(self, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Clips uint8 [n, t, c, h, w] -> frames b, c, d and a or e of each, int64 [n, 4], and weights 0 or 1 [n]."""
        t = videos.shape[1]
        small = F.interpolate(views.to_float(videos).flatten(0, 1), (SMALL, SMALL), mode="area")
        small = small.unflatten(0, videos.shape[:2])
        light = small.mean((2, 3, 4), keepdim=True)  # a change of brightness is not motion
        contrast = small.std((3, 4), correction=0).amax(2)
        fades = (light / light.mean(1, keepdim=True).clamp(min=1e-6) - 1).abs() > STRAYS
        shown = contrast > contrast.amax(1, keepdim=True) * torch.where(fades.flatten(1), FADED, BLANK)
        small = small * (light.mean(1, keepdim=True) / light.clamp(min=1e-6)).clamp(max=2)  # no noise in black frames
        triples = torch.combinations(torch.arange(t, device=videos.device), 3)
        inside = (triples[:, 0] >= self.gap) | (triples[:, 2] < t - self.gap)  # there is room for a or e
        triples = triples[inside & (triples[:, 2] - triples[:, 0] <= self.span)]
        way = F.pad(self.moves(small).cumsum(1), (1, 0))
        before, first, second, after = way[:, F.pad(F.pad(triples, (1, 0)), (0, 1), value=t - 1)].diff(dim=2).unbind(2)
        least = torch.minimum(torch.minimum(first, second), torch.maximum(before, after))  # b to c, c to d, and outside
        chosen = triples[torch.multinomial(least * shown[:, triples].all(2) + 1e-6, 1, generator=self.rng)[:, 0]]
        picked = small[torch.arange(len(small), device=small.device)[:, None], chosen]
        unlike = (small[:, :, None] - picked[:, None]).abs().mean((3, 4, 5))  # each frame against b, c, d: [n, t, 3]
        place = torch.arange(t, device=videos.device)
        outside = (place <= chosen[:, :1] - self.gap) | (place >= chosen[:, 2:] + self.gap)
        wrong = torch.multinomial((unlike.amin(2) * shown + 1e-6) * outside, 1, generator=self.rng)
        differ = torch.cat([unlike.amin(2).gather(1, wrong), unlike[:, :, 1].gather(1, chosen[:, ::2])], 1).amin(1)
        places = torch.cat([chosen, wrong], 1)
        return places, ((differ > STILL) & shown.gather(1, places).all(1)).float()

    def predict(self, triples):
        codes = self.frame(self.encoder.maps(triples.flatten(0, 1))).unflatten(0, triples.shape[:2])
        return self.head((codes - codes.mean(1, keepdim=True)).flatten(1))  # the common scene would dominate

    def loss(self, scores, withheld):
        order, weight = withheld
        errors = F.cross_entropy(scores, order, reduction="none")
        return {
            "loss": (errors * weight).sum() / weight.sum().clamp(min=1),
            "accuracy": ((scores.argmax(1) == order) * weight).sum() / weight.sum().clamp(min=1),
            "moving": weight.mean(),
            "trivial": math.log(2) * weight.max(),
        }

    def picture(self, triples, withheld, scores=None):
        names = ("shuffled", "in order")
        columns = {"seen": triples, "true": [names[i] for i in withheld[0].tolist()]}
        if scores is not None:
            columns["said"] = [names[i] for i in scores.argmax(1).tolist()]
        return columns
