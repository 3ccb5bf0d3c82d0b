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
    """Withholds the label, or the network's own prediction for an image; predicts it after adversarial dropout.

    The head reads the features that dropout leaves. The prediction with one random mask must equal the prediction with
    another, in which a few features that affect it most are additionally dropped or restored. No prediction then
    depends on a few features alone. The two masks are drawn independently: with equal masks, nothing would change the
    prediction at first, and no feature would be the worst. The same prediction for all images is unaffected by masks;
    the labels prevent it, and the target gets no gradient.

    Args:
        weight: weight of the divergence between the two predictions, averaged over unlabelled images; 0 ignores them.
        changed: maximum share of the features that are adversarially dropped or restored.
        dropout: share of the features that a random mask drops.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
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
        """Return features; `loss` drops some of them before the head reads them."""
        return self.encoder(seen)

    def read(self, features: Tensor, masks: Tensor) -> Tensor:
        """Scores of features [n, d] under masks [n, d], rescaled as in dropout."""
        return self.head(features * masks / masks.mean(1, keepdim=True).clamp(min=1e-6))

    def loss(self, features, withheld):
        """Equation 9 of the paper, with the divergence of predictions, which is 0 for a constant prediction."""
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
        """Show the predictions from all features."""
        return super().picture(seen, withheld[:1], None if features is None else self.head(features.float()))
