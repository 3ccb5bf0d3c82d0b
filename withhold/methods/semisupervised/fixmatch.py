"""FixMatch."""

from collections.abc import Sequence

from withhold import losses
from withhold.methods import (
    ImageEncoder,
    Magnitude,
    NonNegative,
    Probability,
    SemiSupervised,
    Share,
    method,
)  # fmt: skip


@method(
    paper="Sohn et al., NeurIPS 2020",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class FixMatch(SemiSupervised):
    """Withholds the label, or the class that the network is sure of in a weak view; predicts it from a strong view.

    What it is sure of becomes a label like any other, and what it is not sure of counts as nothing: so early guesses do
    not confirm themselves, and more of the images come to count as the network learns. Strong views are weak ones after
    RandAugment, with a square erased that is half as wide. A step takes as many unlabelled images as labelled ones,
    where the paper takes seven times as many.

    Args:
        weight: of the cross-entropy with the guesses, a mean over all unlabelled images; 0 takes nothing from these.
        confidence: how large a share the likeliest class must have for a guess to count.
        magnitude: of RandAugment's operations, from 0 to 30.
        momentum: share of itself that the average keeps in a step; 0.999 suits runs of 100,000 steps and more.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        confidence: Share = 0.95,
        magnitude: Magnitude = 15.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, magnitude)
        self.confidence = confidence

    def loss(self, scores, withheld):
        """Equations 3 and 4 of the paper."""
        labels, answers, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        consistency, sure = losses.sure_cross_entropy(answers, rest, self.confidence)
        return self.terms(named, labels, consistency, sure=sure)
