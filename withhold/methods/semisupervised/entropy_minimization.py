"""Entropy minimisation."""

import math
from collections.abc import Sequence

import torch

from withhold import losses
from withhold.methods import ImageEncoder, NonNegative, Probability, SemiSupervised, Share, method


@method(
    paper="Grandvalet & Bengio, NIPS 2004",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class EntropyMinimization(SemiSupervised):
    """Withholds the label; predicts it, and is trained to be confident where there is none.

    Confident predictions are useful if classes hardly overlap: the boundaries between classes then lie where few images
    are. The same confident prediction for all images would cost nothing without labels, so the weight is small compared
    with theirs.

    Args:
        weight: weight of the entropy in nats of the predictions for unlabelled images, averaged over these; 0 ignores
            them. In the paper, both the likelihood of the labels and the entropy are sums.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 0.1,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)

    def withhold(self, labelled, unlabelled):
        """A weak view of every image; the labels."""
        images, labels = labelled
        return self.weak(torch.cat([images, unlabelled])), (labels,)

    def loss(self, scores, withheld):
        """Equation 6 of the paper, divided by the number of samples.

        With a weight of at most 0.2, or 0.5 for up to 30 classes, the best constant prediction is uniform.
        """
        (labels,) = withheld
        named, rest = scores.tensor_split([len(labels)])
        terms = self.terms(named, labels, losses.entropy(rest))
        return terms | {"trivial": (1 + self.weight) * math.log(scores.shape[1])}
