"""VAT: virtual adversarial training."""

import math
from collections.abc import Sequence

import torch

from withhold import losses
from withhold.methods import ImageEncoder, NonNegative, Positive, Probability, SemiSupervised, Share, method


@method(
    paper="Miyato, Maeda, Koyama & Ishii, TPAMI 2018",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class VAT(SemiSupervised):
    """Withholds the label, or the network's own prediction for an image; predicts it after an adversarial change.

    Of all small changes of a given size, the change is the one that affects the prediction most. Predictions therefore
    change only where few images are. The same prediction for all images is unaffected, but the labels prevent it. A
    change that is too large turns an image into another class. The paper also changes labelled images; here these are
    changed if they are among the unlabelled ones, too.

    Args:
        weight: weight of the loss on unlabelled images, relative to 1 for the labels: the mean divergence from the
            predictions for unchanged images, plus their weighted entropy; 0 ignores unlabelled images.
        entropy: weight of the mean entropy of the predictions, relative to 1 for the divergence; 1 is the paper's
            "VAT+EntMin".
        radius: size of a change: the root mean square over the values of an image, which lie in [0, 1]. 0.03 is a
            Euclidean length of 1.7 for colour images of 32 pixels.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        entropy: NonNegative = 0.0,
        radius: Positive = 0.03,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.entropy, self.radius = entropy, radius

    def withhold(self, labelled, unlabelled):
        """Weak views of all images, changed unlabelled ones; labels, predictions for unchanged ones, unchanged ones."""
        images, labels = labelled
        plain = self.weak(unlabelled)
        answers = self.answers(plain)
        changed = losses.changed_for_the_worst(self.predict, plain, answers, self.radius, self.rng)
        return torch.cat([self.weak(images), plain, changed]), (labels, answers, plain)

    def loss(self, scores, withheld):
        """Equations 8 and 16 of the paper.

        With a product of `weight` and `entropy` of at most 0.2, or 0.5 for up to 30 classes, the best constant
        prediction is uniform.
        """
        labels, answers, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        plain, changed = rest.tensor_split(2)
        divergence, unsure = losses.divergence(answers, changed), losses.entropy(plain)
        terms = self.terms(named, labels, divergence + self.entropy * unsure)
        return terms | {
            "divergence": losses.mean(divergence),
            "trivial": (1 + self.weight * self.entropy) * math.log(scores.shape[1]),
        }

    def picture(self, seen, withheld, scores=None):
        return super().picture(seen.clamp(0, 1), withheld, scores)
