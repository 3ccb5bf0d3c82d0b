"""UDA: unsupervised data augmentation."""

from collections.abc import Sequence
from typing import Annotated

import torch

from withhold import losses, views
from withhold.methods import ConsistencyTraining, ImageEncoder, NonNegative, Positive, Probability, Range, Share, method


@method(
    paper="Xie, Dai, Hovy, Luong & Le, NeurIPS 2020",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class UDA(ConsistencyTraining):
    """Withholds the label, or the network's own answer to a weak view; predicts it from a strongly changed one.

    The answer is sharpened, and counts only where the network is sure, so that early guesses do not confirm themselves.
    Strong views are weak ones after RandAugment, with a square erased that is half as wide. With few labels, these are
    learned by heart long before the rest is understood: annealing leaves out those that are known well for the time.

    Args:
        weight: of the divergence from the answers to weak views, a mean over all unlabelled images; 0 takes nothing
            from these.
        temperature: of the sharpening; 1 leaves answers as they are.
        confidence: how sure an answer must be, before sharpening, to count.
        annealing: how the confidence at which a labelled image is left out rises from chance to 1: evenly ("linear"),
            late ("exp", for very few labels), early ("log", for many), or not at all ("none").
        magnitude: of RandAugment's operations, from 0 to 30 (uniform up to 27 in the paper, and half of them left out).
        momentum: share of itself that the average keeps in a step; 0.9999 suits runs of 500,000 steps.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        temperature: Positive = 0.4,
        confidence: Share = 0.8,
        annealing: losses.Annealing = "none",
        magnitude: Annotated[float, Range(least=0, most=30)] = 15.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, temperature, confidence, annealing, momentum, flip)
        self.magnitude = magnitude

    def withhold(self, labelled, unlabelled):
        """Weak views of the labelled, strong ones of the unlabelled; labels, answers to weak views, and these."""
        images, labels = labelled
        others = self.weak(unlabelled)
        answers = self.answers(others)
        return torch.cat([self.weak(images), self.strong(unlabelled)]), (labels, answers, others)

    def strong(self, images):
        """uint8 [n, c, h, w] -> a strongly changed view of each, float [n, c, size, size]."""
        changed = views.rand_augment(self.weak(images), self.rng, magnitude=self.magnitude)
        return views.erase(changed, self.rng, probability=1.0, area=(0.25, 0.25), aspect=(1.0, 1.0))
