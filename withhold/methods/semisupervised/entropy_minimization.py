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
    """Withholds the label, or for what has none only that it has one; predicts it, and is to be sure of it.

    A sure answer is worth having where classes hardly overlap: the boundaries between them then lie where few images
    are. The same sure answer to all images would cost nothing, but for the labels: the weight is small beside theirs.

    Args:
        weight: of the entropy of the answers to unlabelled images, in nats, a mean over these; 0 takes nothing from
            them. In the paper the likelihood of the labels is a sum, as is the entropy.
        momentum: share of itself that the average of the weights keeps in a step.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        """Equation 6 of the paper, divided by the number of items.

        With a weight of a half at most, the best answer that looks at nothing is an even one.
        """
        (labels,) = withheld
        named, rest = scores.tensor_split([len(labels)])
        terms = self.terms(named, labels, losses.entropy(rest))
        return terms | {"trivial": (1 + self.weight) * math.log(scores.shape[1])}
