"""Rotation (RotNet)."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import ImageEncoder, Method, accuracy, method

TURNS = 4


@method(paper="Gidaris, Singh & Komodakis, ICLR 2018", needs={"images": "image"}, family="verify")
class Rotation(Method):
    """Withholds which way is up; predicts the quarter turn that was applied.

    Quarter turns are transposes and flips, so no interpolation and no black corners reveal them.
    """

    def __init__(self, encoder: ImageEncoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, TURNS)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> float [4n, c, h, w] in all four turns, turn index [4n]."""
        upright = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        turned = torch.cat([upright.rot90(turn, (2, 3)) for turn in range(TURNS)])
        return turned, torch.arange(TURNS, device=turned.device).repeat_interleave(len(upright))

    def predict(self, turned):
        return self.head(self.encoder(turned))

    def loss(self, scores, turns):
        return {
            "loss": F.cross_entropy(scores, turns),
            "accuracy": accuracy(scores, turns),
            "trivial": math.log(TURNS),
        }

    def picture(self, turned, turns, scores=None):
        columns = {"seen": turned, "true": [f"{90 * turn}°" for turn in turns.tolist()]}
        if scores is not None:
            columns["said"] = [f"{90 * turn}°" for turn in scores.argmax(1).tolist()]
        return columns
