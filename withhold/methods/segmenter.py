"""Base class of methods that predict the class of every pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods.answers import Image, Mask
from withhold.methods.dense import Dense
from withhold.needs import IGNORED
from withhold.nets import ImageEncoder
from withhold.pictures import PALETTE, painted


class Segmenter(Dense):
    """A method whose head gives class scores at every pixel; see `Dense`."""

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], flip: float):
        super().__init__(encoder, classes, flip, len(classes))

    def segment(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, h] in [0, 1] -> class scores at every pixel [n, k, h, h]."""
        return self.head(nets.stage_maps(self.encoder, images), images.shape[2:])

    def terms(self, scores: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The mean cross-entropy over pixels of known class, and the share of these that are classified correctly."""
        masks = masks.long()
        known = masks != IGNORED
        count = known.sum().clamp(min=1)
        shares = masks[known].bincount(minlength=len(self.classes)) / count
        return {
            "loss": F.cross_entropy(scores, masks, ignore_index=IGNORED, reduction="sum") / count,
            "accuracy": (scores.argmax(1) == masks).sum() / count,
            "trivial": torch.special.entr(shares).sum(),
        }

    def says(self):
        return {"mask": lambda images: self.segment(images).argmax(1).float()}

    def apply_to(self, image):
        """An image -> the "mask" with class numbers, and an "overlay" of the image and the colours of the classes.

        Where the square crops overlap, class probabilities are added.
        """
        h, w = image.shape[1:]
        side = min(h, w)
        shares = torch.zeros(len(self.classes), h, w)
        for square, left, top in self.squares(image):
            scores = self.segment(square)
            seen = F.interpolate(scores.float(), (side, side), mode="bilinear", align_corners=False)[0].softmax(0)
            shares[:, top : top + side, left : left + side] += seen.cpu()
        labels = shares.argmax(0)
        colours = painted(labels[None])
        overlay = (views.with_channels(views.to_float(image[None]), 3).cpu() + colours) / 2
        legend = {name: number for number, name in enumerate(self.classes)}
        return {"mask": Mask(labels, PALETTE.flatten().tolist()), "overlay": Image(overlay[0], legend)}

    def draw(self, masks: Tensor, images: Tensor) -> Tensor:
        """Masks [n, h, w] -> their colours, float [n, c, h, w]; grey if the images [n, c, ...] are grey."""
        return views.with_channels(painted(masks), images.shape[1])
