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
    """Withholds the label, or the prediction for another noisy view of the same image; predicts it.

    Both predictions are pulled towards each other. The same prediction for all images would satisfy this loss, so the
    weight of consistency rises slowly and labels are learned first. Views are shifted and noisy, and both views of an
    image are flipped or neither, as in the authors' code. Unlike the paper's networks, these have no dropout.

    Args:
        weight: weight of the squared difference of the two predictions, averaged over classes and unlabelled images; 0
            ignores them. The paper's weight is 100 times the share of labelled images, with a cross-entropy averaged
            over all images. This equals 100 with a cross-entropy averaged over labelled images.
        noise: standard deviation of the noise on every view; the default is about 0.15 times that of the pixels.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
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
        """A view of every labelled and two of every unlabelled image, float [n + 2m, c, size, size]; the labels."""
        images, labels = labelled
        mirrored = views.flip(unlabelled, self.rng, self.flip).repeat(2, 1, 1, 1)
        others = views.weak(mirrored, self.rng, size=self.encoder.size, flip=0.0)
        return views.noise(torch.cat([self.weak(images), others]), self.rng, self.noise), (labels,)

    def loss(self, scores, withheld):
        """Algorithm 1 of the paper. Both predictions get gradients; a constant prediction has no consistency cost."""
        (labels,) = withheld
        named, rest = scores.tensor_split([len(labels)])
        first, second = rest.softmax(1).tensor_split(2)
        costs = (first - second).square().mean(1)
        terms = self.terms(named, labels, costs, self.risen)
        return terms | {"trivial": math.log(scores.shape[1])}

    def picture(self, seen, withheld, scores=None):
        """The second views of unlabelled images, next to the first ones."""
        columns, (labels,) = super().picture(seen, withheld, scores), withheld
        if len(seen) > len(labels):
            columns["other view"] = seen[len(labels) :].tensor_split(2)[0][-len(labels) :]
        return columns
