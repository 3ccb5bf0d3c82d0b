"""MixMatch."""

import math
from collections.abc import Sequence

from withhold import losses
from withhold.methods import (
    Count,
    ImageEncoder,
    Mixtures,
    NonNegative,
    Optimizer,
    Positive,
    Probability,
    Share,
    method,
)  # fmt: skip


@method(
    paper="Berthelot et al., NeurIPS 2019",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class MixMatch(Mixtures):
    """Withholds the labels of mixed images, given or guessed; predicts their mixture.

    A guess is the network's answer averaged over weak views and sharpened. Every image is mixed with another one, be it
    labelled or not, so that the network does not grow sure of its own guesses. The larger share is always the image's
    own: it stays known which are mostly labelled. Those count by cross-entropy, guesses by a bounded squared error.

    Args:
        weight: of the squared error of the unlabelled images, a mean over classes and images (75 in the paper on
            CIFAR-10, 250 on SVHN); 0 takes nothing from these, and mixes the labelled images among themselves.
        copies: how many weak views of an unlabelled image are seen, and averaged over for its guess.
        temperature: of the sharpening; 1 leaves guesses as they are.
        alpha: of the Beta(alpha, alpha) that shares are drawn from; the smaller, the less is mixed.
        momentum: share of itself that the average keeps in a step; 0.999 suits runs of 100,000 steps and more.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    optimizer = Optimizer(lr=2e-3, weight_decay=0.02)

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 75.0,
        copies: Count = 2,
        temperature: Positive = 0.5,
        alpha: Positive = 0.75,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, copies, temperature, alpha, momentum, flip)

    def cost(self, scores, guesses):
        """Equation 4 of the paper."""
        return losses.squared_error(scores.softmax(1), guesses) if len(scores) else scores.new_zeros(())

    def loss(self, scores, withheld):
        """Equations 2 to 5 of the paper; a constant answer would pay for the guesses' own variance."""
        terms, guesses = super().loss(scores, withheld), withheld[1]
        spread = guesses.var(0, correction=0).mean() if len(guesses) else 0.0
        return terms | {"trivial": math.log(scores.shape[1]) + self.weight * self.risen * spread}
