"""Restoration of photographs taken through dirt or rain."""

from typing import Annotated, Literal

import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import Method, Optimizer, Probability, Range, answers, method
from withhold.nets import PixelConv

STEP = 0.1
"""The share of what is painted that is added: the first steps of 1600 weights at once would throw every pixel off."""
AROUND, ROWS = 12, 256
"""Pixels to each side that decide what a pixel becomes, and rows of a photograph that are restored at once."""


@method(paper="Eigen, Krishnan & Fergus, ICCV 2013", needs={"images": "image"}, family="reconstruct")
class Restoration(Method):
    """Withholds what is behind dirt or drops of rain on a pane; predicts it from the photograph through that pane.

    Dirt is drawn, as in the paper; so are drops here, which the paper photographs. As there, every pixel has features
    that paint a small square, and where squares overlap they add up; the features are those of a deeper and narrower
    network than the paper's, which removes more for the same work. Most of a photograph is clean and must stay as it
    is: what is predicted is a change, from none at the start. "trivial" is the error of changing nothing, and "gain"
    what is better than that, in decibels. A network removes what it was trained on: one for noise leaves dirt alone.

    Args:
        corruption: "dirt", "rain", or "noise" of deviation 0.1, for comparison.
        speck: width of the largest speck or drop, in pixels of the photograph as it is trained on.
        cover: share of the photograph's cells of that width that have a speck at most; it has anything from none to
            that.
    """

    optimizer = Optimizer(lr=3e-3)
    batch_size = 16

    def __init__(
        self,
        encoder: PixelConv,
        corruption: Literal["dirt", "rain", "noise"] = "dirt",
        speck: Annotated[int, Range(least=4)] = 8,
        cover: Probability = 0.5,
    ):
        super().__init__(encoder)
        self.corruption, self.speck, self.cover = corruption, speck, cover
        self.paint = nn.Conv2d(encoder.dim, encoder.channels, 5, padding=2, padding_mode="replicate")
        for weight in self.paint.parameters():
            nn.init.zeros_(weight)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> photographs through a pane float [n, c, size, size]; clean ones, and these again."""
        clean = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0))
        clean = views.with_channels(clean, self.encoder.channels)
        seen = self.corrupt(clean)
        return seen, (clean, seen)

    def corrupt(self, clean):
        """Photographs float [n, c, h, w] in [0, 1] -> the same behind what the network is to remove."""
        if self.corruption == "noise":
            return views.noise(clean, self.rng)
        pane = views.dirt if self.corruption == "dirt" else views.rain
        return pane(clean, self.rng, largest=self.speck, cover=self.cover)

    def predict(self, seen):
        return seen + STEP * self.paint(self.encoder.maps(seen))

    def loss(self, restored, withheld):
        clean, seen = withheld
        error, untouched = losses.squared_error(restored, clean), losses.squared_error(seen, clean)
        psnr = losses.psnr(error)
        return {"loss": error, "psnr": psnr, "gain": psnr - losses.psnr(untouched), "trivial": untouched}

    def apply_to(self, image):
        """A photograph without what it was taken through, with the resolution that it has."""
        photo = views.with_channels(views.to_float(image[None]), self.encoder.channels)
        framed = F.pad(photo, (0, 0, AROUND, AROUND), mode="replicate")
        strips = [
            self.predict(framed[:, :, top : top + ROWS + 2 * AROUND])[:, :, AROUND:-AROUND]
            for top in range(0, photo.shape[2], ROWS)
        ]
        return {"seen": answers.Image(photo[0]), "restored": answers.Image(torch.cat(strips, 2)[0])}

    def picture(self, seen, withheld, restored=None):
        columns = {"seen": seen, "true": withheld[0]}
        if restored is not None:
            columns["said"] = restored.float().clamp(0, 1)
        return columns
