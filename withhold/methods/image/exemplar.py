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
    """Withholds which of a few thousand images a strongly augmented view shows; predicts it, with one class per image.

    With weak augmentation, a colour histogram would identify an image. Views are therefore random crops, rotated, with
    new brightness, contrast, saturation and hue in every epoch. Flat images look alike after that, so images with
    strong edges are more likely to be chosen. With too many exemplars, some show the same object, and the head would
    separate images that belong together. Images that were not chosen are not used.

    Args:
        exemplars: number of images that are chosen, at most all; the head has one output for each.
    """

    order = {"images": Balanced("exemplar")}
    exemplar: Tensor

    def __init__(self, encoder: ImageEncoder, exemplars: Several = 4000):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, exemplars)
        self.register_buffer("exemplar", torch.zeros(0, dtype=torch.int64))  # the class of each image, -1 if not chosen

    def prepare(self, images):
        """Choose exemplars among up to four times as many images, with probability proportional to edge strength."""
        looked = self.some(len(images), 4 * self.head.out_features)
        weight = torch.cat([edges(images.batch(part)) for part in looked.split(256)]).to(self.rng.device)
        count = min(self.head.out_features, len(looked))
        chosen = looked[weight.multinomial(count, generator=self.rng).cpu()].to(self.exemplar.device)
        self.exemplar.resize_(len(images)).fill_(-1)[chosen] = torch.arange(count, device=chosen.device)

    def withhold(self, images):
        """Images uint8 [n, c, h, w], numbers [n] -> views float [n, c, size, size]; (exemplars [n], the images)."""
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
        """Return the scores of the exemplars. With few images, there are fewer exemplars than outputs of the head."""
        return self.head(self.encoder(seen))[:, : len(self.exemplar)]

    def loss(self, scores, withheld):
        exemplars, _ = withheld
        return {
            "loss": F.cross_entropy(scores, exemplars),
            "accuracy": accuracy(scores, exemplars),
            "trivial": math.log(scores.shape[1]),
        }

    def picture(self, seen, withheld, scores=None):
        """Views, their images, and the most probable exemplar among those of the batch."""
        exemplars, images = withheld
        columns = {"seen": seen, "true": images}
        if scores is not None:
            columns["said"] = images[scores[:, exemplars].argmax(1)]
        return columns


def edges(images: Tensor) -> Tensor:
    """The mean squared difference of neighbouring pixels of images uint8 [n, c, h, w], plus 1e-6: float [n]."""
    pixels = views.to_float(images)
    return 1e-6 + sum(pixels.diff(dim=axis).square().mean((1, 2, 3)) for axis in (2, 3))
