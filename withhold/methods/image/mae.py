"""Masked autoencoder (MAE)."""

import torch
from torch import nn

from withhold import views
from withhold.methods import Count, Fraction, Method, Optimizer, Width, method
from withhold.nets import Transformer, ViT, positions


@method(paper="He et al., CVPR 2022", needs={"images": "image"}, family="reconstruct")
class MAE(Method):
    """Withholds most patches of an image; predicts their pixels from the few that are left.

    The encoder processes only the visible patches, which makes it fast. A small decoder, discarded after training, gets
    them at their positions among blank tokens. The targets are patches normalised by their own mean and standard
    deviation, and visible patches do not count. The features need fine-tuning: their k-NN and linear probe accuracies
    are low.

    Args:
        mask: share of the patches that is withheld.
        width: features per token in the decoder, a multiple of 32.
        depth: blocks of the decoder.
    """

    optimizer = Optimizer(lr=1e-3, weight_decay=0.05, betas=(0.9, 0.95))

    def __init__(
        self,
        encoder: ViT,
        mask: Fraction = 0.75,
        width: Width = 96,
        depth: Count = 2,
    ):
        super().__init__(encoder)
        if encoder.channels * encoder.patch**2 < 2:  # normalised, a single value is always 0
            raise ValueError(f"patches of {encoder.size} x {encoder.size} px are single values. Give another size.")
        tokens = encoder.grid**2
        if not 0 < round(mask * tokens) < tokens:
            raise ValueError(f"mask must withhold some of the {tokens} patches, but not all, and cannot be {mask}.")
        self.mask = mask
        self.narrow = nn.Linear(encoder.dim, width)
        self.blank = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", positions(encoder.grid, encoder.grid, width), persistent=False)
        self.decoder = Transformer(width, depth, width // 32)
        self.paint = nn.Linear(width, encoder.channels * encoder.patch**2)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (image with holes, indices of visible patches [n, v]), (all patches, mask [n, l])."""
        whole = views.patches(self.encoder.view(images, self.rng, crop=(0.2, 1.0)), self.encoder.patch)
        mask = views.random_mask(*whole.shape[:2], self.mask, self.rng)
        left = mask.shape[1] - round(mask.shape[1] * self.mask)
        visible = (
            self.whole_image(whole.masked_fill(mask[:, :, None], 0.5)),
            mask.byte().argsort(dim=1, stable=True)[:, :left],
        )
        return visible, (whole, mask)

    def predict(self, visible):
        """Return normalised patches [n, l, c * p * p]."""
        seen, left = visible
        tokens = self.encoder.tokens(seen)
        features = self.narrow(self.encoder.transformer(tokens.gather(1, repeat(left, tokens.shape[2]))))
        blanks = self.blank.to(features.dtype).expand(*tokens.shape[:2], -1)
        return self.paint(self.decoder(blanks.scatter(1, repeat(left, features.shape[2]), features) + self.positions))

    def loss(self, predicted, withheld):
        """The mean squared error of the withheld patches. "trivial" is that of the mean patch at each place."""
        whole, mask = withheld
        target = (whole - whole.mean(2, keepdim=True)) / (whole.var(2, keepdim=True) + 1e-6).sqrt()
        return {
            "loss": masked_mean(((predicted - target) ** 2).mean(2), mask),
            "trivial": masked_mean(((target - target.mean(0)) ** 2).mean(2), mask),
        }

    def picture(self, visible, withheld, predicted=None):
        """Predictions are drawn with the true mean and standard deviation of each patch, which are not predicted."""
        whole, mask = withheld
        columns = {"seen": visible[0], "true": self.whole_image(whole)}
        if predicted is not None:
            mean, deviation = whole.mean(2, keepdim=True), whole.std(2, keepdim=True)
            columns["said"] = self.whole_image(
                torch.where(mask[:, :, None], predicted.float() * deviation + mean, whole).clamp(0, 1)
            )
        return columns

    def whole_image(self, patches):
        return views.unpatch(patches, self.encoder.channels, (self.encoder.size, self.encoder.size))


def repeat(indices, width):
    """Indices of tokens [n, v] -> [n, v, width], as gather and scatter need them."""
    return indices[:, :, None].expand(-1, -1, width)


def masked_mean(values, mask):
    """The mean of `values` [n, l] where `mask` is true."""
    return (values * mask).sum() / mask.sum()
