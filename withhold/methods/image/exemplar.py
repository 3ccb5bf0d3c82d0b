"""Exemplar networks (Exemplar-CNN)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import ImageEncoder, Method, Several, accuracy, method
from withhold.orders import Balanced


@method(
    paper="Dosovitskiy, Springenberg, Riedmiller & Brox, NIPS 2014", needs={"images": "image + number"}, family="verify"
)
class Exemplar(Method):
    """Withholds which of a few thousand images a strongly changed view shows; predicts it: each is a class of its own.

    A weak change would leave a histogram of colours to know an image by: views are crops, turned, and of another
    brightness, contrast, saturation and hue, anew at every visit. Flat images look alike after that; those with strong
    edges are likelier to be chosen. Of very many exemplars some show the same thing, and the head would pull apart what
    belongs together. The images that were not chosen are not learned from.

    Args:
        exemplars: how many images are chosen, or all where there are fewer; the head has an output for each.
    """

    order = {"images": Balanced("exemplar")}
    exemplar: Tensor

    def __init__(self, encoder: ImageEncoder, exemplars: Several = 4000):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, exemplars)
        self.register_buffer("exemplar", torch.zeros(0, dtype=torch.int64))  # of each image its class, -1 of the others

    def prepare(self, images):
        """Choose exemplars among up to four times as many images, in proportion to their edges."""
        looked = self.some(len(images), 4 * self.head.out_features)
        weight = torch.cat([edges(images.batch(part)) for part in looked.split(256)]).to(self.rng.device)
        count = min(self.head.out_features, len(looked))
        chosen = looked[weight.multinomial(count, generator=self.rng).cpu()].to(self.exemplar.device)
        self.exemplar.resize_(len(images)).fill_(-1)[chosen] = torch.arange(count, device=chosen.device)

    def withhold(self, images):
        """Images uint8 [n, c, h, w], numbers [n] -> views float [n, c, size, size]; their exemplars [n], and these."""
        images, numbers = images
        crops = views.augment(
            images,
            self.rng,
            size=self.encoder.size,
            crop=(0.3, 1.0),
            jitter=(0.4, 0.6, 0.8, 0.1),
            jitter_probability=1.0,
        )
        return views.affine(crops, self.rng, degrees=20), (self.exemplar[numbers], views.to_float(images))

    def predict(self, seen):
        """The scores of the exemplars, which are fewer than the head's outputs where there are fewer images."""
        return self.head(self.encoder(seen))[:, : len(self.exemplar)]

    def loss(self, scores, withheld):
        exemplars, _ = withheld
        return {
            "loss": F.cross_entropy(scores, exemplars),
            "accuracy": accuracy(scores, exemplars),
            "trivial": math.log(scores.shape[1]),
        }

    def picture(self, seen, withheld, scores=None):
        """Said is the likeliest of the batch's exemplars."""
        exemplars, images = withheld
        columns = {"seen": seen, "true": images}
        if scores is not None:
            columns["said"] = images[scores[:, exemplars].argmax(1)]
        return columns


def edges(images: Tensor) -> Tensor:
    """The mean squared difference of neighbouring pixels of images uint8 [n, c, h, w], and a little more: float [n]."""
    pixels = views.to_float(images)
    return 1e-6 + sum(pixels.diff(dim=axis).square().mean((1, 2, 3)) for axis in (2, 3))
