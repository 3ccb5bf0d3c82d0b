"""Restoration of photographs taken through dirt or rain."""

from typing import Annotated, Literal

import torch
from torch import nn

from withhold import losses, views
from withhold.methods import Method, Optimizer, Probability, Range, answers, method
from withhold.nets import PixelConv

STEP = 0.1
"""Factor of the predicted change: 1600 weights contribute to each pixel, and full steps would be too large at first."""
AROUND, ROWS = 12, 256
"""Receptive field to each side of a pixel, and rows of a photograph that are restored at once."""


@method(paper="Eigen, Krishnan & Fergus, ICCV 2013", needs={"images": "image"}, family="reconstruct")
class Restoration(Method):
    """Withholds what is behind dirt or raindrops on a pane; predicts it from the photograph through that pane.

    Dirt is synthetic, as in the paper; raindrops are synthetic too, where the paper photographs them. As in the paper,
    every pixel has features that predict a small square, and overlapping squares are added. The features come from a
    deeper and narrower network than the paper's, which removes more at the same cost. Most of a photograph is clean and
    must not change, so the network predicts a change, which starts at zero. "trivial" is the error of changing nothing,
    and "gain" is the improvement over it in decibels. A network removes only what it was trained on: one trained on
    noise does not remove dirt.

    Args:
        corruption: "dirt", "rain", or, for comparison, "noise" with standard deviation 0.1.
        speck: width of the largest speck or drop, in pixels of the training photographs.
        cover: maximum share of a photograph's cells of that width that have a speck; the share varies from 0 to this.
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
        """uint8 [n, c, h, w] -> corrupted photographs float [n, c, size, size]; the clean and the corrupted ones."""
        clean = self.encoder.view(images, self.rng, crop=(0.6, 1.0))
        seen = self.corrupt(clean)
        return seen, (clean, seen)

    def corrupt(self, clean):
        """Corrupt photographs float [n, c, h, w] in [0, 1]."""
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
        """Restore a photograph at its full resolution."""
        photo = views.with_channels(views.to_float(image[None]), self.encoder.channels)
        strips = []
        for top in range(0, photo.shape[2], ROWS):
            first = max(0, top - AROUND)
            restored = self.predict(photo[:, :, first : top + ROWS + AROUND])
            strips.append(restored[:, :, top - first : top - first + ROWS])
        return {"seen": answers.Image(photo[0]), "restored": answers.Image(torch.cat(strips, 2)[0])}

    def picture(self, seen, withheld, restored=None):
        columns = {"seen": seen, "true": withheld[0]}
        if restored is not None:
            columns["said"] = restored.float().clamp(0, 1)
        return columns
