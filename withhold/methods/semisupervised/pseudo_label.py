"""Pseudo-labels."""

from collections.abc import Sequence

import torch

from withhold import losses
from withhold.methods import ImageEncoder, NonNegative, Probability, SemiSupervised, Share, method


@method(
    paper="Lee, ICML 2013 workshop",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class PseudoLabel(SemiSupervised):
    """Withholds the label, or where there is none the network's most probable class; predicts it.

    Training on its own predictions makes the network more confident, and moves the boundaries between classes to where
    few images are. Wrong predictions are reinforced as well. Therefore only confident predictions count, and their
    weight rises slowly.

    Args:
        weight: weight of the cross-entropy of the unlabelled images, averaged over all of them, with 0 for unconfident
            ones (3 in the paper, with as many labelled images per batch); 0 ignores unlabelled images.
        confidence: minimum probability of a prediction to count; 0 counts all predictions, as in the paper.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        confidence: Share = 0.95,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.confidence = confidence

    def withhold(self, labelled, unlabelled):
        """A weak view of every image; the labels. Pseudo-labels come from the same forward pass."""
        images, labels = labelled
        return self.weak(torch.cat([images, unlabelled])), (labels,)

    def loss(self, scores, withheld):
        """Equation 15 of the paper; no gradient goes through the choice of a class."""
        (labels,) = withheld
        named, rest = scores.tensor_split([len(labels)])
        costs, sure = losses.sure_cross_entropy(rest.detach().softmax(1), rest, self.confidence)
        return self.terms(named, labels, costs, self.risen, sure)
