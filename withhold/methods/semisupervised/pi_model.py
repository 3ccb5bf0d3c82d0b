"""The Pi-model."""

import math
from collections.abc import Sequence

import torch

from withhold import views
from withhold.methods import ImageEncoder, NonNegative, Probability, SemiSupervised, Share, method


@method(
    paper="Laine & Aila, ICLR 2017",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class PiModel(SemiSupervised):
    """Withholds the label, or the answer to another noisy view of the same image; predicts it.

    Both answers move towards each other. The same answer to all images would satisfy them: the weight of consistency
    rises slowly, so that labels come first. Views are moved and noisy, and both mirrored or neither, as the authors
    have it; unlike the paper's networks, ours drop nothing out.

    Args:
        weight: of the squared difference of the two answers, a mean over classes and unlabelled images; 0 takes
            nothing from these. The paper's is 100 times the share of images that have labels, beside a cross-entropy
            that is a mean over all images: 100 beside a mean over those with labels.
        noise: deviation of the noise on every view: 0.15 of that of the pixels.
        momentum: share of itself that the average of the weights keeps in a step.
        flip: probability that an image is mirrored; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        noise: NonNegative = 0.04,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.noise = noise

    def withhold(self, labelled, unlabelled):
        """A view of every labelled image, and two of every other one, float [n + 2m, c, size, size]; the labels."""
        images, labels = labelled
        mirrored = views.flip(unlabelled, self.rng, self.flip).repeat(2, 1, 1, 1)
        others = views.weak(mirrored, self.rng, size=self.encoder.size, flip=0.0)
        return views.noise(torch.cat([self.weak(images), others]), self.rng, self.noise), (labels,)

    def loss(self, scores, withheld):
        """Algorithm 1 of the paper; the gradient goes through both answers, and a constant one costs no consistency."""
        (labels,) = withheld
        named, rest = scores.tensor_split([len(labels)])
        first, second = rest.softmax(1).tensor_split(2)
        costs = (first - second).square().mean(1)
        terms = self.terms(named, labels, costs, self.risen)
        return terms | {"trivial": math.log(scores.shape[1])}

    def picture(self, seen, withheld, scores=None):
        """The second views, beside the first ones."""
        columns, (labels,) = super().picture(seen, withheld, scores), withheld
        if len(seen) > len(labels):
            columns["other view"] = seen[len(labels) :].tensor_split(2)[0][-len(labels) :]
        return columns
