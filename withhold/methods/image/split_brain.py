"""Split-brain autoencoder."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import Method, accuracy, method
from withhold.nets import Decoder, SplitConvNet

STRIDE = 4
"""Pixels per predicted colour, along each side."""
LEVELS = 50
"""Number of bins of lightness, each 2 wide."""


@method(paper="Zhang, Isola & Efros, CVPR 2017", needs={"images": "image"}, family="reconstruct")
class SplitBrain(Method):
    """Withholds colours from one half of the network and lightness from the other; each half predicts what it lacks.

    A network that colorizes never sees colours and learns no features of them. Here the halves share no weights.
    Together they see the whole image, in training and afterwards, and neither can copy its target. Both classify into
    bins: 50 of lightness, and the cells of a colour grid with step 10 that contain some sRGB colour. Targets are four
    times coarser than the image, because fine lightness is noise to the half that sees only colours. All bins have the
    same weight, which gave better features in the paper than weighting rare colours more.
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
        lab = views.rgb_to_lab(F.avg_pool2d(view, STRIDE, ceil_mode=True, count_include_pad=False))
        levels = (lab[:, 0] * LEVELS / 100).long().clamp(0, LEVELS - 1)
        return view, (views.to_bins(lab[:, 1:])[0][:, 0], levels)

    def predict(self, view):
        """Scores of colour bins [n, bins, s, s] from lightness, and of lightness bins [n, 50, s, s] from colours."""
        lightness, color = self.encoder.halves(view)
        return self.to_color(lightness), self.to_lightness(color)

    def loss(self, predicted, withheld):
        """The sum of both cross-entropies. "trivial" is the sum of the entropies of the bins' frequencies."""
        color, lightness = (F.cross_entropy(*pair) for pair in zip(predicted, withheld, strict=True))
        return {
            "loss": color + lightness,
            "color": color,
            "lightness": lightness,
            "accuracy": sum(accuracy(*pair) for pair in zip(predicted, withheld, strict=True)) / 2,
            "trivial": sum(
                losses.entropy_of_counts(bins, scores.shape[1])
                for scores, bins in zip(predicted, withheld, strict=True)
            ),
        }

    def picture(self, view, withheld, predicted=None):
        """What each half sees, and its most probable bin at every place."""
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
