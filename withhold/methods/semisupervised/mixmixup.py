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
    """Withholds the labels of images, mixed within and across labelled and unlabelled ones; predicts their mixture.

    An unlabelled image gets a guess instead of a label: the network's sharpened prediction for the same view that is
    mixed. Mixing keeps the network from becoming overconfident in its own guesses. A mixture counts as labelled if the
    larger share is of a labelled image.

    Args:
        weight: weight of the cross-entropy of the unlabelled images, averaged over these; 0 ignores them, and mixes the
            labelled images among themselves.
        temperature: temperature of the sharpening; 1 leaves guesses as they are.
        alpha: the mixing shares are drawn from Beta(alpha, alpha); smaller values mix less.
        momentum: share of itself that the moving average of the weights keeps in a step; 0.999 suits runs of 100,000
            steps and more.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    optimizer = Optimizer(lr=4e-3, weight_decay=0.02)  # 0.002 for 64 images

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
        super().__init__(encoder, classes, weight, momentum, flip, copies=1, temperature=temperature, alpha=alpha)

    def cost(self, scores, guesses):
        """The mean cross-entropy."""
        return F.cross_entropy(scores, guesses, reduction="sum") / max(1, len(scores))
