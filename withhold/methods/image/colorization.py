"""Colorization."""

from typing import Annotated

import torch
from torch import Tensor

from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import ImageEncoder, Method, Positive, Range, answers, method
from withhold.nets import Decoder

STRIDE = 4
"""Pixels per predicted colour, along each side."""
SURVEYED = 2048
"""Number of images from which the frequencies of colours are computed."""


@method(paper="Zhang, Isola & Efros, ECCV 2016", needs={"images": "image"}, family="reconstruct")
class Colorization(Method):
    """Withholds the colours (ab of CIE Lab); predicts, from lightness, a distribution over colour bins at every place.

    The bins are the cells of a grid with step 10 that contain some sRGB colour: 261, where the paper keeps 313. Rare
    colours count more: the weight of a bin is the inverse of its smoothed frequency in the data. The output colour is
    the annealed mean of the distribution.

    Args:
        smoothing: share of the uniform distribution mixed into the frequencies; 1 weights all bins equally.
        temperature: temperature of the annealed mean; 1 gives the greyish mean, values near 0 the patchy mode.
    """

    channels = 1
    palette: Tensor
    weight: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        smoothing: Annotated[float, Range(above=0, most=1)] = 0.5,
        temperature: Positive = 0.38,
    ):
        super().__init__(encoder)
        self.smoothing, self.temperature = smoothing, temperature
        self.register_buffer("palette", views.ab_palette().clone())
        self.register_buffer("weight", torch.ones(len(self.palette)))
        self.decoder = Decoder(encoder.dim, len(self.palette), encoder.grid, -(-encoder.size // STRIDE))

    def prepare(self, images):
        """Compute the weight of each bin from its frequency in the data (equation 4)."""
        frequency = torch.zeros_like(self.weight)
        for part in self.some(len(images), SURVEYED).split(256):
            _, ab = split(images.batch(part).to(frequency.device))
            bins, shares = views.to_bins(ab)
            frequency.index_add_(0, bins.flatten(), shares.flatten())
        frequency /= frequency.sum()
        weight = 1 / ((1 - self.smoothing) * frequency + self.smoothing / len(frequency))
        self.weight.copy_(weight / (frequency * weight).sum())

    def withhold(self, images):
        """Images uint8 [n, 3, h, w] -> lightness float [n, 1, size, size]; colour bins, their shares, and weights.

        Bins and shares are [n, 5, size / 4, size / 4], weights [n, size / 4, size / 4]: zero for an image without
        colour.
        """
        view = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        lightness, ab = split(view)
        bins, shares = views.to_bins(ab)
        colourful = ab.abs().amax((1, 2, 3)) > 5
        return lightness, (bins, shares, self.weight[bins[:, 0]] * colourful[:, None, None])

    def predict(self, lightness):
        return self.decoder(self.encoder.maps(lightness))

    def loss(self, scores, withheld):
        """Weighted cross-entropy. The accuracy has the same weights, so predicting the commonest colour scores low."""
        bins, shares, weight = withheld
        surprise = -(shares * scores.log_softmax(1).gather(1, bins)).sum(1)
        hit = scores.argmax(1) == bins[:, 0]
        total = weight.sum().clamp(min=1e-9)
        wanted = torch.zeros_like(self.weight).index_add_(0, bins.flatten(), (weight[:, None] * shares).flatten())
        return {
            "loss": (weight * surprise).mean(),
            "accuracy": (weight * hit).sum() / total,
            "trivial": -wanted.xlogy(wanted / total).sum() / weight.numel(),
        }

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.decoder, plain(), self.predict)

    def apply_to(self, image):
        """Colorize a grey or colour photo. Its lightness and resolution are kept."""
        photos = views.with_channels(views.to_float(image[None]), 3)
        view = views.augment(photos, self.rng, size=self.encoder.size, flip=0)
        lightness = split(photos)[0]
        colorized = views.paint(lightness, self.decode(self.predict(split(view)[0])))
        return {"seen": answers.Image(lightness[0]), "colorized": answers.Image(colorized[0])}

    def picture(self, lightness, withheld, scores=None):
        bins, shares, _ = withheld
        true = (self.palette[bins] * shares[..., None]).sum(1).permute(0, 3, 1, 2)
        columns = {"seen": lightness, "true": views.paint(lightness, true)}
        if scores is not None:
            columns["said"] = views.paint(lightness, self.decode(scores))
        return columns

    def decode(self, scores: Tensor) -> Tensor:
        """Scores [n, bins, h, w] -> the annealed mean colours [n, 2, h, w] (equation 5)."""
        return torch.einsum("nkhw,kd->ndhw", (scores.float() / self.temperature).softmax(1), self.palette)


def split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images [n, 3, h, w] -> lightness / 100 [n, 1, h, w], and the ab of every fourth pixel [n, 2, h / 4, w / 4]."""
    if images.shape[1] != 3:
        raise UsageError("colorization needs colour images, but these are grey. Choose another method.")
    return views.split_color(images, STRIDE)
