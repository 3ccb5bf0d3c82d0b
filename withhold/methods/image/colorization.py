"""Colorization."""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import views
from withhold.errors import UsageError
from withhold.methods import Encoder, Method, method
from withhold.nets import Decoder

GRID = 10
"""Side of a bin of the ab plane."""
NEIGHBOURS = 5
SIGMA = 5.0
"""A colour is spread over its nearest bins by a Gaussian of this deviation."""
STRIDE = 4
"""Pixels to a predicted colour."""
SURVEYED = 2048
"""Images from which the colours' frequencies are taken."""


@method(paper="Zhang, Isola & Efros, ECCV 2016", needs={"images": "image"}, family="reconstruct")
class Colorization(Method):
    """Withholds the colours (ab of CIE Lab); predicts, from lightness, a distribution over colour bins at every place.

    The bins are those of a grid of step 10 that some sRGB colour falls into: 261, where the paper keeps 313. Rare
    colours count more: a bin weighs the inverse of its smoothed frequency in the data. The answer is the annealed mean.

    Args:
        smoothing: share of the uniform distribution mixed into the frequencies; 1 weighs all bins alike.
        temperature: of the annealed mean; 1 gives the greyish mean, near 0 the patchy mode.
    """

    channels = 1
    palette: Tensor
    weight: Tensor

    def __init__(self, encoder: Encoder, smoothing: float = 0.5, temperature: float = 0.38):
        super().__init__(encoder)
        if not 0 < smoothing <= 1:
            raise ValueError(f"smoothing must be more than 0 and at most 1, not {smoothing}.")
        if temperature <= 0:
            raise ValueError(f"temperature must be more than 0, not {temperature}.")
        self.smoothing, self.temperature = smoothing, temperature
        self.register_buffer("palette", in_gamut().clone())
        self.register_buffer("weight", torch.ones(len(self.palette)))
        self.decoder = Decoder(encoder.dim, len(self.palette), encoder.grid, -(-encoder.size // STRIDE))

    def prepare(self, images):
        """Weigh the bins by how rare they are in the data (equation 4)."""
        frequency = torch.zeros_like(self.weight)
        for part in torch.randperm(len(images), generator=self.rng, device=self.rng.device)[:SURVEYED].split(256):
            bins, shares = self.encode(split(images.batch(part.cpu()).to(frequency.device))[1])
            frequency.index_add_(0, bins.flatten(), shares.flatten())
        frequency /= frequency.sum()
        weight = 1 / ((1 - self.smoothing) * frequency + self.smoothing / len(frequency))
        self.weight.copy_(weight / (frequency * weight).sum())

    def withhold(self, images):
        """uint8 [n, 3, h, w] -> lightness float [n, 1, size, size]; its colours' bins, their shares, their weights.

        Bins and shares [n, 5, size / 4, size / 4], weights [n, size / 4, size / 4]: zero where a photo has no colour.
        """
        view = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        lightness, ab = split(view)
        bins, shares = self.encode(ab)
        colourful = ab.abs().amax((1, 2, 3)) > 5
        return lightness, (bins, shares, self.weight[bins[:, 0]] * colourful[:, None, None])

    def predict(self, lightness):
        return self.decoder(self.encoder.maps(lightness))

    def loss(self, scores, withheld):
        """The accuracy is weighted like the loss: always to say the commonest colour earns little."""
        bins, shares, weight = withheld
        surprise = -(shares * scores.float().log_softmax(1).gather(1, bins)).sum(1)
        hit = scores.argmax(1) == bins[:, 0]
        total = weight.sum().clamp(min=1e-9)
        wanted = torch.zeros_like(self.weight).index_add_(0, bins.flatten(), (weight[:, None] * shares).flatten())
        return {
            "loss": (weight * surprise).mean(),
            "accuracy": (weight * hit).sum() / total,
            "trivial": -wanted.xlogy(wanted / total).sum() / weight.numel(),
        }

    def apply_to(self, images):
        """Grey or colour photos in new colours, with the lightness and the resolution they have."""
        photos = views.with_channels(views.to_float(images), 3)
        view = views.augment(photos, self.rng, size=self.encoder.size, flip=0)
        lightness = split(photos)[0]
        return {"seen": lightness, "colorized": paint(lightness, self.decode(self.predict(split(view)[0])))}

    def picture(self, lightness, withheld, scores=None):
        bins, shares, _ = withheld
        true = (self.palette[bins] * shares[..., None]).sum(1).permute(0, 3, 1, 2)
        columns = {"seen": lightness, "true": paint(lightness, true)}
        if scores is not None:
            columns["said"] = paint(lightness, self.decode(scores))
        return columns

    def encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Colours [n, 2, h, w] -> the bins nearest to each, nearest first, and their shares, both [n, 5, h, w]."""
        distance, bins = torch.cdist(ab.movedim(1, -1).flatten(0, 2), self.palette).topk(NEIGHBOURS, largest=False)
        shares = (distance.square() / (-2 * SIGMA**2)).softmax(1)
        shape = (len(ab), *ab.shape[2:], NEIGHBOURS)
        return bins.view(shape).movedim(-1, 1), shares.view(shape).movedim(-1, 1)

    def decode(self, scores: Tensor) -> Tensor:
        """Scores [n, bins, h, w] -> the annealed mean colours [n, 2, h, w] (equation 5)."""
        return torch.einsum("nkhw,kd->ndhw", (scores.float() / self.temperature).softmax(1), self.palette)


@functools.cache
def in_gamut() -> Tensor:
    """The ab of the bins that hold a colour of sRGB [bins, 2]; the cube's faces reach all that its inside does."""
    level = torch.linspace(0, 1, 256)
    faces = torch.stack([*torch.meshgrid(torch.tensor([0.0, 1.0]), level, level, indexing="ij")])
    cube = torch.stack([faces.roll(turn, 0) for turn in range(3)]).flatten(2)
    place = (views.rgb_to_lab(cube[..., None])[:, 1:] / GRID).round().long() + 12
    reached = torch.zeros(25, 25, dtype=torch.bool)
    reached[place[:, 0], place[:, 1]] = True
    return (reached.nonzero() - 12) * float(GRID)


def split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Colour images [n, 3, h, w] -> lightness / 100 [n, 1, h, w], the ab of every fourth pixel [n, 2, h / 4, w / 4]."""
    if images.shape[1] != 3:
        raise UsageError("colorization needs colour images, and these are grey: choose another method for them.")
    with torch.autocast(images.device.type, enabled=False):  # half precision would move colours to other bins
        lab = views.rgb_to_lab(views.to_float(images))
    # The pixel nearest to the middle of its cell, where `paint` puts its colour.
    rows, columns = (
        torch.arange(STRIDE // 2, side + STRIDE // 2, STRIDE, device=lab.device).clamp(max=side - 1)
        for side in lab.shape[2:]
    )
    return lab[:, :1] / 100, lab[:, 1:, rows[:, None], columns]


def paint(lightness: Tensor, ab: Tensor) -> Tensor:
    """Lightness / 100 [n, 1, h, w] and coarser ab [n, 2, h', w'] -> sRGB images [n, 3, h, w] in [0, 1]."""
    fine = F.interpolate(ab, lightness.shape[2:], mode="bilinear")
    return views.lab_to_rgb(torch.cat([100 * lightness, fine], 1)).clamp(0, 1)
