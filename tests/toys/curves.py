"""A custom kind of data in one file: curves, such as an ECG or a machine's signal, with an encoder and a method."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional as F

from withhold import data, kinds, nets
from withhold.data.kind import Kind, Shape, Unreadable
from withhold.methods import Count, Encoder, Method, Probability, method
from withhold.page import cell


@data.register
@dataclass(frozen=True)
class Curves(Kind):
    """Files of NumPy, each with the values of one curve, float [rows]."""

    points: int | None = None

    name, noun, endings, columns = "curve", "curve", (".npy",), ("curve", "path", "file")
    at_once = 256

    @property
    def window(self):
        return self.points

    @property
    def key(self):
        return "curves"

    def measure(self, item):
        self.decode(item)
        return Shape()

    def decode(self, item):
        try:
            return (item if isinstance(item, np.ndarray) else np.load(item)).astype(np.float32).reshape(-1)
        except (OSError, ValueError) as error:
            raise Unreadable(str(error)) from error


@kinds.register
class Traits(kinds.Traits):
    name = "curve"
    control = "values"
    length = "points"

    def show(self, item):
        values = Curves().decode(item)
        heights = 60 - 50 * (values - values.min()) / max(1e-6, np.ptp(values))
        picture = Image.new("RGB", (144, 64), "white")
        ImageDraw.Draw(picture).line(list(zip(np.linspace(0, 143, len(values)), heights, strict=True)), "black")
        return cell(picture)


@nets.register
class Convolutions(Encoder):
    """Curves float [n, points] -> features [n, 64]."""

    kind = "curve"

    def __init__(self):
        super().__init__(dim=64)
        self.layers = nn.Sequential(nn.Conv1d(1, 32, 7, 2, 3), nn.ReLU(), nn.Conv1d(32, 64, 7, 2, 3), nn.ReLU())

    def maps(self, curves):
        return self.layers(curves[:, None])

    def forward(self, curves):
        return self.maps(curves).mean(2)


@method(paper="none", needs={"curves": "curve"}, family="reconstruct")
class HiddenPoints(Method):
    """Withholds some points of a curve; predicts them from the rest.

    Args:
        points: in a window.
        share: of the points that are withheld.
    """

    def __init__(self, encoder: Encoder, points: Count = 64, share: Probability = 0.3):
        super().__init__(encoder)
        self.share, self.head = share, nn.Linear(encoder.dim, points)

    def withhold(self, curves):
        hidden = torch.rand(curves.shape, generator=self.rng, device=curves.device) < self.share
        return curves.where(~hidden, 0), (curves, hidden)

    def predict(self, seen):
        return self.head(self.encoder(seen))

    def loss(self, predicted, withheld):
        curves, hidden = withheld
        return {"loss": F.mse_loss(predicted[hidden], curves[hidden]), "trivial": curves[hidden].var()}

    def picture(self, seen, withheld, predicted=None):
        return {"seen": [" ".join(f"{value:.1f}" for value in row[:8]) for row in seen.tolist()]}
