"""Base class of methods that predict the class of every pixel."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods.answers import Image, Mask
from withhold.methods.dense import Dense
from withhold.needs import IGNORED
from withhold.nets import ImageEncoder
from withhold.pictures import PALETTE, painted


class Segmenter(Dense):
    """A method whose head gives class scores at every pixel, and `more` values after them; see `Dense`."""

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], flip: float, more: int = 0):
        super().__init__(encoder, classes, flip, len(classes) + more)

    def segment(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, h] in [0, 1] -> class scores at every pixel [n, k, h, h]."""
        return self.head(nets.stage_maps(self.encoder, images), images.shape[2:])[:, : len(self.classes)]

    def terms(self, scores: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The mean cross-entropy over pixels of known class, and the share of these that are classified correctly."""
        masks = masks.long()
        known = masks != IGNORED
        count = known.sum().clamp(min=1)
        return {
            "loss": F.cross_entropy(scores, masks, ignore_index=IGNORED, reduction="sum") / count,
            "accuracy": (scores.argmax(1) == masks).sum() / count,
            "trivial": losses.entropy_of_counts(masks[known], len(self.classes)),
        }

    def says(self):
        return {"mask": lambda images: self.segment(images).argmax(1).float()}

    def apply_to(self, image):
        """An image -> the "mask" with class numbers, and an "overlay" of the image and the colours of the classes."""
        return self.shown(image, self.joined(image, self.segment, lambda scores: scores.softmax(0)).argmax(0))

    def shown(self, image: Tensor, labels: Tensor) -> dict[str, Mask | Image]:
        """An image uint8 [c, h, w] and the class numbers of its pixels [h, w] -> what `apply` writes."""
        colours = painted(labels[None])
        overlay = (views.with_channels(views.to_float(image[None]), 3).cpu() + colours) / 2
        legend = {name: number for number, name in enumerate(self.classes)}
        return {"mask": Mask(labels, PALETTE.flatten().tolist()), "overlay": Image(overlay[0], legend)}

    def draw(self, masks: Tensor, images: Tensor) -> Tensor:
        """Masks [n, h, w] -> their colours, float [n, c, h, w]; grey if the images [n, c, ...] are grey."""
        return views.with_channels(painted(masks), images.shape[1])
