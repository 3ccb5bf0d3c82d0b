"""ICT: interpolation consistency training."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import ImageEncoder, NonNegative, Positive, Probability, SemiSupervised, Share, method


@method(
    paper="Verma, Lamb, Kannala, Bengio & Lopez-Paz, IJCAI 2019",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class ICT(SemiSupervised):
    """Withholds the mixture of two labels, or of two predictions by averaged weights; predicts it from mixed images.

    Predictions then change evenly between images, so that no boundary between classes runs close to an image. Labelled
    images are mixed among themselves (mixup). The same prediction for all images would satisfy the consistency loss, so
    its weight rises slowly and labels are learned first.

    Args:
        weight: weight of the squared error of the mixed predictions, averaged over classes and unlabelled images; 0
            ignores these and leaves mixup.
        alpha: the mixing shares are drawn from Beta(alpha, alpha); smaller values mix less (0.1 in the paper on SVHN).
        momentum: share of itself that the moving average of the weights keeps in a step; 0.999 suits runs of 100,000
            steps.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        alpha: Positive = 1.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.alpha = alpha

    def withhold(self, labelled, unlabelled):
        """Mixed views, labelled and unlabelled separately; mixed labels [n, k], mixed guesses [m, k], unmixed views."""
        images, labels = labelled
        others = self.weak(unlabelled)
        targets = F.one_hot(labels, len(self.classes)).float()
        named, shares = views.mixup(self.weak(images), targets, self.rng, self.alpha)
        mixed, guesses = views.mixup(others, self.answers(others, self.teacher), self.rng, self.alpha)
        return torch.cat([named, mixed]), (shares, guesses, others)

    def loss(self, scores, withheld):
        """Algorithm 1 of the paper. A constant prediction costs the variance of the mixed guesses."""
        shares, guesses, _ = withheld
        named, rest = scores.tensor_split([len(shares)])
        terms = self.terms(named, shares, (rest.softmax(1) - guesses).square().mean(1), self.risen)
        return terms | {"trivial": self.trivial(losses.spread(guesses))}
