"""Prototypical networks: five classes with one example each."""

import math

import torch
from torch.nn import functional as F

from withhold import views
from withhold.methods import Encoder, Method, Positive, accuracy, method
from withhold.orders import Episodes

EPISODES = Episodes(ways=5, shots=1, queries=4)


@method(paper="Snell, Swersky & Zemel, NeurIPS 2017", needs={"items": "image | audio + label"}, family="contrast")
class Prototypes(Method):
    """Withholds the classes of an episode's queries; predicts them by the nearest mean of the items that are shown.

    Args:
        seconds: of a sound.
    """

    order = {"items": EPISODES}
    compares = True

    def __init__(self, encoder: Encoder, seconds: Positive = 1.0):
        super().__init__(encoder)

    def withhold(self, items):
        """Whole episodes of items [n, ...] -> these, and which of its episode's classes each query is of."""
        items, labels = items
        ways = torch.arange(EPISODES.ways, device=labels.device).repeat_interleave(EPISODES.queries)
        return views.to_float(items), ways.repeat(len(items) // EPISODES.unit)

    def predict(self, seen):
        """Minus the squared distances of each query to the prototypes of its episode [queries, ways]."""
        features = self.encoder(seen).unflatten(0, (-1, EPISODES.ways, EPISODES.shots + EPISODES.queries))
        shown, asked = features.split([EPISODES.shots, EPISODES.queries], 2)
        distances = asked.flatten(1, 2)[:, :, None] - shown.mean(2)[:, None]
        return -distances.square().sum(3).flatten(0, 1)

    def loss(self, scores, ways):
        return {
            "loss": F.cross_entropy(scores, ways),
            "accuracy": accuracy(scores, ways),
            "trivial": math.log(EPISODES.ways),
        }

    def picture(self, seen, ways, scores=None):
        if self.encoder.kind == "audio":
            seen = views.draw_log_mel(views.log_mel(seen, self.encoder.rate))
        episodes = seen.unflatten(0, (-1, EPISODES.ways, EPISODES.shots + EPISODES.queries))
        columns = {"seen": episodes[:, :, EPISODES.shots :].flatten(0, 2), "true": [f"way {k}" for k in ways.tolist()]}
        if scores is not None:
            columns["said"] = [f"way {k}" for k in scores.argmax(1).tolist()]
        return columns
