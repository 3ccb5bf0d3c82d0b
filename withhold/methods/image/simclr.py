"""SimCLR."""

import math
from typing import Annotated

import torch
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Positive, Range, accuracy, method, paired


@method(paper="Chen, Kornblith, Norouzi & Hinton, ICML 2020", needs={"images": "image"}, family="contrast")
class SimCLR(Method):
    """Withholds which view shows the same image; predicts it among all the views in the batch.

    With crops alone, the colour histogram would identify the partner; colour jitter and grey views prevent that. Half
    of the views are blurred, from 64 pixels on. Views and temperature are the paper's for CIFAR-10, with crops of at
    least a fifth of the area. The projector is narrower, and AdamW replaces LARS. With several processes, the views of
    all processes are compared.

    Args:
        temperature: temperature of the softmax over similarities; a lower one emphasises hard negatives.
        crop: minimum area of a view, as a share of the image's.
        strength: strength of the colour jitter: 1 as for ImageNet, 0.5 as for small images, 0 for none.
        projection: length of the embeddings.
    """

    compares = True

    def __init__(
        self,
        encoder: ImageEncoder,
        temperature: Positive = 0.5,
        crop: Annotated[float, Range(above=0, most=1)] = 0.2,
        strength: NonNegative = 0.5,
        projection: Count = 128,
    ):
        super().__init__(encoder)
        self.temperature, self.crop, self.strength = temperature, crop, strength
        self.projector = nets.mlp((encoder.dim, 512, projection))

    def withhold(self, images):
        """uint8 [n, c, h, w] -> two views of each, float [2n, c, size, size]; index of every view's partner [2n]."""
        s = self.strength
        seen = views.distort(
            torch.cat([images, images]),
            self.rng,
            size=self.encoder.size,
            crop=(self.crop, 1.0),
            jitter=(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s),
        )
        return seen, torch.arange(len(seen), device=seen.device).roll(len(images))

    def predict(self, seen):
        return self.projector(self.encoder(seen))

    def loss(self, embedded, partners):
        first, second = embedded.chunk(2)
        return {
            "loss": losses.nt_xent(first, second, self.temperature),
            "accuracy": accuracy(self.similarities(embedded), partners),
            "trivial": math.log(losses.ranks() * len(partners) - 1),
        }

    def similarities(self, embedded):
        """Embeddings [m, d] -> the cosine of every pair [m, m], with each view's own set below all others."""
        unit = F.normalize(embedded.detach().float(), dim=1)
        return (unit @ unit.T).fill_diagonal_(-2)

    def picture(self, seen, partners, embedded=None):
        return paired(seen, seen[partners], None if embedded is None else self.similarities(embedded).argmax(1))
