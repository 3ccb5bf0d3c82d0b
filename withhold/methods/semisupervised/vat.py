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
    """Withholds the label, or the network's own answer to an image; predicts it from the image, changed for the worst.

    The change is the one, of all small ones as large, that the answer minds most. So answers come to change only where
    few images are. The same answer to all images minds none, but the labels forbid it. A change that is too large makes
    another class of an image.

    Args:
        weight: of what is learned from unlabelled images, labels counting 1: the mean divergence from the answers to
            what is unchanged, and their entropy; 0 takes nothing from these.
        entropy: weight of the mean entropy of the answers, beside 1 for the divergence; 1 is the paper's "VAT+EntMin".
        radius: of a change, the root mean square over the values of an image, which lie in [0, 1]: 0.03 is a Euclidean
            length of 1.7 at 32 pixels in colour.
        momentum: share of itself that the average of the weights keeps in a step.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        """Weak views of all images, and the unlabelled ones changed; labels, answers before the change, and these."""
        images, labels = labelled
        plain = self.weak(unlabelled)
        answers = self.answers(plain)
        changed = losses.changed_for_the_worst(self.predict, plain, answers, self.radius, self.rng)
        return torch.cat([self.weak(images), plain, changed]), (labels, answers, plain)

    def loss(self, scores, withheld):
        """Equation 8 of the paper, and equation 16. With `entropy` 0.5 at most, the best constant answer is even."""
        labels, answers, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        plain, changed = rest.tensor_split(2)
        divergence, unsure = losses.divergence(answers, changed), losses.entropy(plain)
        terms = self.terms(named, labels, divergence + self.entropy * unsure)
        return terms | {
            "divergence": divergence.sum() / max(1, len(divergence)),
            "trivial": (1 + self.weight * self.entropy) * math.log(scores.shape[1]),
        }

    def picture(self, seen, withheld, scores=None):
        return super().picture(seen.clamp(0, 1), withheld, scores)
