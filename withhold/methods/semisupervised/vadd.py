"""VAdD: virtual adversarial dropout."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from withhold import losses
from withhold.methods import Fraction, ImageEncoder, NonNegative, Probability, SemiSupervised, Share, method


@method(
    paper="Park, Park, Shin & Moon, AAAI 2018",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class VAdD(SemiSupervised):
    """Withholds the label, or the network's own answer to an image; predicts it with its worst features dropped out.

    The head reads what dropout leaves of the features. The answer through one random mask is to be the same through
    another, of which those few features are dropped or brought back that change the answer most. So no answer rests on
    a few features alone. Were the two masks the same, nothing would change the answer at first, and no feature be the
    worst: they are drawn apart. The same answer to all images minds no mask: labels forbid it, and no gradient goes
    through the answer that is to be kept.

    Args:
        weight: of the divergence between the two answers, a mean over unlabelled images; 0 takes nothing from these.
        changed: share of the features that are dropped or brought back for the worst, at most.
        dropout: share of the features that a random mask drops.
        momentum: share of itself that the average of the weights keeps in a step.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        changed: Probability = 0.05,
        dropout: Fraction = 0.5,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.changed, self.dropout = changed, dropout

    def withhold(self, labelled, unlabelled):
        """A weak view of every image; the labels, and random masks of features, two for every unlabelled image."""
        images, labels = labelled
        seen = self.weak(torch.cat([images, unlabelled]))
        shape = (len(images) + 2 * len(unlabelled), self.encoder.dim)
        masks = torch.rand(shape, generator=self.rng, device=seen.device) >= self.dropout
        return seen, (labels, masks.float())

    def predict(self, seen):
        """-> features; `loss` drops some of them before the head reads them."""
        return self.encoder(seen)

    def read(self, features: Tensor, masks: Tensor) -> Tensor:
        """The scores of what masks [n, d] leave of features [n, d], which is scaled as if all were there."""
        return self.head(features * masks / masks.mean(1, keepdim=True).clamp(min=1e-6))

    def loss(self, features, withheld):
        """Equation 9 of the paper, with the divergence of answers; a constant answer has none."""
        labels, masks = withheld
        known, others = features.tensor_split([len(labels)])
        own, kept, worst = masks.split([len(known), len(others), len(others)])
        with torch.no_grad():
            answers = self.read(others, kept).softmax(1)
        most, fixed = math.floor(self.changed * features.shape[1] + 1e-6), others.detach()
        worst = losses.adversarial_mask(lambda mask: self.read(fixed, mask), worst, answers, most)
        costs = losses.divergence(answers, self.read(others, worst))
        terms = self.terms(self.read(known, own), labels, costs, self.risen)
        return terms | {"trivial": math.log(len(self.classes))}

    def picture(self, seen, withheld, features=None):
        """What the head reads in all features."""
        return super().picture(seen, withheld[:1], None if features is None else self.head(features.float()))
