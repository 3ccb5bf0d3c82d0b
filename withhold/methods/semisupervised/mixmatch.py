"""MixMatch."""

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

    A guess is the network's prediction, averaged over weak views and sharpened. Every image is mixed with another one,
    labelled or not, which keeps the network from becoming overconfident in its own guesses. The larger share of a
    mixture is always the image's own, so that mixtures stay mostly labelled or mostly unlabelled. The former have a
    cross-entropy loss, the latter a bounded squared error.

    Args:
        weight: weight of the squared error of the unlabelled images, averaged over classes and images; 0 ignores them,
            and mixes the labelled images among themselves. The paper reaches 75 on CIFAR-10 (250 on SVHN) after 16,000
            steps. In a shorter training, such weights can make all guesses the same class.
        copies: number of weak views of an unlabelled image, all of which are seen and averaged for its guess.
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
        weight: NonNegative = 10.0,
        copies: Count = 2,
        temperature: Positive = 0.5,
        alpha: Positive = 0.75,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, copies=copies, temperature=temperature, alpha=alpha)

    def cost(self, scores, guesses):
        """Equation 4 of the paper."""
        return losses.squared_error(scores.softmax(1), guesses) if len(scores) else scores.new_zeros(())

    def loss(self, scores, withheld):
        """Equations 2 to 5 of the paper. A constant prediction costs the variance of the guesses."""
        return super().loss(scores, withheld) | {"trivial": self.trivial(losses.spread(withheld[1]))}
