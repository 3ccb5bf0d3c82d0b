"""MixMatch."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import (
    Count,
    ImageEncoder,
    NonNegative,
    Optimizer,
    Positive,
    Probability,
    SemiSupervised,
    Share,
    accuracy,
    method,
)  # fmt: skip


@method(
    paper="Berthelot et al., NeurIPS 2019",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class MixMatch(SemiSupervised):
    """Withholds the labels of mixed images, given or guessed; predicts their mixture.

    A guess is the network's answer averaged over weak views and sharpened. Every image is mixed with another one, be it
    labelled or not, so that the network does not grow sure of its own guesses. The larger share is always the image's
    own: it stays known which are mostly labelled. Those count by cross-entropy, guesses by a bounded squared error.

    Args:
        weight: of the squared error of the unlabelled images, a mean over classes and images (75 in the paper on
            CIFAR-10, 250 on SVHN); 0 takes nothing from these, and mixes the labelled images among themselves.
        ramp: steps in which that weight rises from 0. In many fewer than these, guesses know too little for their full
            weight, which would teach the same answer to all.
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
        ramp: Count = 16_000,
        copies: Count = 2,
        temperature: Positive = 0.5,
        alpha: Positive = 0.75,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.ramp, self.copies, self.temperature, self.alpha = ramp, copies, temperature, alpha

    def withhold(self, labelled, unlabelled):
        """Mixed views; the mixed labels [n, k], the mixed guesses [copies * n, k], and the unlabelled views unmixed."""
        images, labels = labelled
        others = self.weak(unlabelled.repeat(self.copies, 1, 1, 1))
        said = self.answers(others).unflatten(0, (self.copies, len(unlabelled))).mean(0)
        guesses = losses.sharpen(said, self.temperature).repeat(self.copies, 1)
        targets = torch.cat([F.one_hot(labels, len(self.classes)).float(), guesses])
        seen, mixed = views.mixup(torch.cat([self.weak(images), others]), targets, self.rng, self.alpha)
        return seen, (mixed[: len(labels)], mixed[len(labels) :], others)

    def loss(self, scores, withheld):
        """Equations 2 to 5 of the paper; a constant answer would pay for the guesses' own variance."""
        labels, guesses, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        supervised = F.cross_entropy(named, labels)
        consistency, spread = scores.new_zeros(2)
        if len(rest):
            consistency, spread = losses.squared_error(rest.softmax(1), guesses), guesses.var(0, correction=0).mean()
        weight = self.weight * min(1.0, self.steps / self.ramp)
        return {
            "loss": supervised + weight * consistency,
            "supervised": supervised,
            "consistency": consistency,
            "accuracy": accuracy(named, labels.argmax(1)),
            "trivial": math.log(scores.shape[1]) + weight * spread,
        }
