"""Pseudo-labels."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from withhold.methods import ImageEncoder, NonNegative, Probability, SemiSupervised, Share, method


@method(
    paper="Lee, ICML 2013 workshop",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class PseudoLabel(SemiSupervised):
    """Withholds the label, or in place of one the network's own likeliest class; predicts it.

    To learn its own answers makes the network surer of them, and moves the boundaries between classes to where few
    images are. Wrong answers are confirmed as well. So only those count that are sure, and their weight rises
    slowly.

    Args:
        weight: of the cross-entropy of the unlabelled images, a mean over all of them, in which those that are not
            sure are 0 (3 in the paper, with as many labelled images in a batch); 0 takes nothing from these.
        confidence: how sure an answer must be to count; 0 lets all of them, as the paper does.
        momentum: share of itself that the average of the weights keeps in a step.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        """A weak view of every image; the labels. The likeliest classes are those of the same pass."""
        images, labels = labelled
        return self.weak(torch.cat([images, unlabelled])), (labels,)

    def loss(self, scores, withheld):
        """Equation 15 of the paper; no gradient goes through the choice of a class."""
        (labels,) = withheld
        named, rest = scores.tensor_split([len(labels)])
        shares, classes = rest.detach().softmax(1).max(1)
        sure = (shares > self.confidence).float()
        costs = sure * F.cross_entropy(rest, classes, reduction="none")
        return self.terms(named, labels, costs, self.risen, sure.sum() / max(1, len(sure)))
