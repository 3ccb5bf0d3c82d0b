"""Split-brain autoencoder."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import views
from withhold.methods import Method, accuracy, method
from withhold.nets import Decoder, SplitConvNet

STRIDE = 4
"""Pixels to a predicted colour."""
LEVELS = 50
"""Bins of lightness, of 2 each."""


@method(paper="Zhang, Isola & Efros, CVPR 2017", needs={"images": "image"}, family="reconstruct")
class SplitBrain(Method):
    """Withholds colours from one half of the network and lightness from the other; each half predicts what it lacks.

    A network that colorizes never sees colours, and knows nothing of them; here the halves share no weight, together
    they see the whole image, in training as after it, and neither can copy what it is to predict. Both choose among
    bins: 50 of lightness, and those of a grid of step 10 that some sRGB colour falls into. What is predicted is four
    times coarser than the image: finer lightness is noise to who sees colours only. All bins count alike, which the
    paper found better for features than to make rare colours count more.
    """

    palette: Tensor

    def __init__(self, encoder: SplitConvNet):
        super().__init__(encoder)
        self.register_buffer("palette", views.ab_palette().clone())
        half, self.side = encoder.dim // 2, -(-encoder.size // STRIDE)
        self.to_color = Decoder(half, len(self.palette), encoder.grid, self.side)
        self.to_lightness = Decoder(half, LEVELS, encoder.grid, self.side)

    def withhold(self, images):
        """uint8 [n, 3, h, w] -> a view float [n, 3, size, size]; bins of its colours and of its lightness [n, s, s]."""
        view = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        lab = views.rgb_to_lab(F.adaptive_avg_pool2d(view, self.side))
        levels = (lab[:, 0] * LEVELS / 100).long().clamp(0, LEVELS - 1)
        return view, (views.to_bins(lab[:, 1:], self.palette)[0][:, 0], levels)

    def predict(self, view):
        """-> scores of the colours' bins [n, bins, s, s] from lightness, and of its bins [n, 50, s, s] from colours."""
        lightness, color = self.encoder.halves(view)
        return self.to_color(lightness), self.to_lightness(color)

    def loss(self, predicted, withheld):
        """The sum of both cross-entropies, and of the entropies of what is common everywhere."""
        color, lightness = (F.cross_entropy(*pair) for pair in zip(predicted, withheld, strict=True))
        return {
            "loss": color + lightness,
            "color": color,
            "lightness": lightness,
            "accuracy": sum(accuracy(*pair) for pair in zip(predicted, withheld, strict=True)) / 2,
            "trivial": sum(entropy(bins, scores.shape[1]) for scores, bins in zip(predicted, withheld, strict=True)),
        }

    def picture(self, view, withheld, predicted=None):
        """What each half sees, and what it makes of it: the commonest answer at every place."""
        lightness, ab = views.split_color(view, 1)
        columns = {
            "seen": lightness,
            "seen by the other": views.paint(torch.full_like(lightness, 0.6), ab),
            "true": view,
        }
        if predicted is not None:
            colors, levels = (scores.argmax(1) for scores in predicted)
            columns["said"] = views.paint(lightness, self.palette[colors].movedim(-1, 1))
            columns["said by the other"] = F.interpolate((levels[:, None] + 0.5) / LEVELS, view.shape[2:])
        return columns


def entropy(bins: Tensor, count: int) -> Tensor:
    """Of how often each of `count` bins occurs in `bins`, of any shape, in nats."""
    places = torch.ones(bins.numel(), device=bins.device)
    return torch.special.entr(places.new_zeros(count).index_add_(0, bins.flatten(), places) / len(places)).sum()
