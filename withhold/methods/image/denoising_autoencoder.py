"""Denoising autoencoder."""

import torch

from withhold import losses, views
from withhold.methods import Fraction, ImageEncoder, Method, NonNegative, method
from withhold.nets import Decoder


@method(paper="Vincent, Larochelle, Bengio & Manzagol, ICML 2008", needs={"images": "image"}, family="reconstruct")
class DenoisingAutoencoder(Method):
    """Withholds random blocks of the image, new ones in every epoch; predicts the clean image.

    The paper withholds single pixels, but neighbours give a single pixel away; blocks avoid that. A hole is filled with
    the encoder's mean, which it sees as zero; black would be a valid colour. There is no bottleneck: the noise prevents
    the network from copying.

    Args:
        ratio: share of the image that is withheld.
        block: side of a withheld block in pixels.
        intact: weight of the error where nothing is withheld, relative to 1 in the holes; 1 in the paper, 0 for the
            full emphasis of its journal version (JMLR 2010).
    """

    def __init__(self, encoder: ImageEncoder, ratio: Fraction = 0.5, block: int = 4, intact: NonNegative = 1.0):
        super().__init__(encoder)
        if not 1 <= block <= encoder.size // 2:
            raise ValueError(f"block must be between 1 and {encoder.size // 2}, half the image's size, not {block}.")
        blocks = (-(-encoder.size // block)) ** 2
        if not 0 < round(ratio * blocks) < blocks:
            raise ValueError(f"ratio must withhold some of the {blocks} blocks, but not all, and cannot be {ratio}.")
        self.ratio, self.block, self.intact = ratio, block, intact
        self.decoder = Decoder(encoder.dim, encoder.channels, encoder.grid, encoder.size)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> a view with holes float [n, c, size, size]; the view, holes bool [n, 1, size, size]."""
        size = self.encoder.size
        clean = self.encoder.view(images, self.rng)
        side = -(-size // self.block)
        holes = views.random_mask(len(clean), side**2, self.ratio, self.rng).view(-1, 1, side, side)
        holes = holes.repeat_interleave(self.block, 2).repeat_interleave(self.block, 3)[:, :, :size, :size]
        return self.encoder.blank(clean, holes), (clean, holes)

    def predict(self, noisy):
        return self.encoder.denormalize(self.decoder(self.encoder.maps(noisy)))

    def loss(self, predicted, withheld):
        clean, holes = withheld
        weight = torch.where(holes, 1.0, self.intact)
        return {
            "loss": losses.squared_error(predicted, clean, weight),
            "psnr": losses.psnr(losses.squared_error(predicted, clean, holes)),
            "trivial": losses.squared_error(clean.mean(0, keepdim=True), clean, weight),
        }

    def picture(self, noisy, withheld, predicted=None):
        columns = {"seen": noisy, "true": withheld[0]}
        if predicted is not None:
            columns["said"] = predicted.float().clamp(0, 1)
        return columns
