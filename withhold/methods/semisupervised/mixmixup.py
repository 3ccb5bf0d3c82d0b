"""MixMixup."""

from collections.abc import Sequence

from torch.nn import functional as F

from withhold.methods import (
    ImageEncoder,
    Mixtures,
    NonNegative,
    Optimizer,
    Positive,
    Probability,
    Share,
    method,
)


@method(
    paper="Hataya & Nakayama, ICLR 2019 workshop on learning from limited labeled data",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class MixMixup(Mixtures):
    """Withholds the labels of images mixed within and across what is labelled and what is not; predicts their mixture.

    A guess stands where there is no label: the network's sharpened answer to the very view that is mixed. Mixtures keep
    the network from growing sure of its own guesses; a mixture belongs to the image that it is mostly of.

    Args:
        weight: of the cross-entropy of the unlabelled images, a mean over these; 0 takes nothing from them, and mixes
            the labelled images among themselves.
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
        weight: NonNegative = 1.0,
        temperature: Positive = 0.5,
        alpha: Positive = 1.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, 1, temperature, alpha, momentum, flip)

    def cost(self, scores, guesses):
        """The mean cross-entropy."""
        return F.cross_entropy(scores, guesses, reduction="sum") / max(1, len(scores))
