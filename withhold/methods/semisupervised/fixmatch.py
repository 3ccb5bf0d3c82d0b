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
    """Withholds the label, or a confident prediction for a weak view; predicts it from a strong view.

    Confident predictions are used as labels; others are ignored. Early errors therefore do not reinforce themselves,
    and more images count as the network learns. Strong views are weak views with RandAugment and an erased square of
    half the image's side. A step uses as many unlabelled as labelled images, where the paper uses seven times as many.

    Args:
        weight: weight of the cross-entropy with the guesses, averaged over all unlabelled images; 0 ignores them.
        confidence: minimum probability of the predicted class for a guess to count.
        magnitude: magnitude of RandAugment's operations, from 0 to 30.
        momentum: share of itself that the moving average of the weights keeps in a step; 0.999 suits runs of 100,000
            steps and more.
        flip: probability of a horizontal flip; 0 for digits and letters.
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
