"""Temporal ensembling."""

from collections.abc import Sequence

import torch
from torch import Tensor

from withhold import losses, views
from withhold.methods import ImageEncoder, NonNegative, Probability, SemiSupervised, Share, method


@method(
    paper="Laine & Aila, ICLR 2017",
    needs={"labelled": "image + label", "unlabelled": "image + number"},
    family="consistency",
)
class TemporalEnsembling(SemiSupervised):
    """Withholds the label, or the average of the predictions in earlier epochs; predicts it from a noisy view.

    Each prediction was made by another state of the network for another view. Their average is better than the last
    one, and needs no second pass. An image seen for the first time has no average, and no consistency loss. The same
    prediction for all images would satisfy the consistency loss, so its weight rises slowly and labels are learned
    first. Unlike the paper's networks, these have no dropout.

    Args:
        weight: weight of the squared difference from the average, averaged over classes and unlabelled images; 0
            ignores them. The paper's weight is 30 times the share of labelled images, with a cross-entropy averaged
            over all images. This equals 30 with a cross-entropy averaged over labelled images.
        memory: share of itself that an average of predictions keeps in an epoch.
        noise: standard deviation of the noise on every view; the default is about 0.15 times that of the pixels.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    averages: Tensor
    seen: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 30.0,
        memory: Share = 0.6,
        noise: NonNegative = 0.04,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.memory, self.noise = memory, noise
        self.register_buffer("averages", torch.zeros(0, len(self.classes)))  # of predictions for each image, from 0 on
        self.register_buffer("seen", torch.zeros(0))  # how often each image was seen

    def prepare(self, labelled, unlabelled):
        super().prepare(labelled, unlabelled)
        self.averages.resize_(len(unlabelled), len(self.classes)).zero_()
        self.seen.resize_(len(unlabelled)).zero_()

    def withhold(self, labelled, unlabelled):
        """A noisy view of every image; the labels, averages of earlier predictions [m, k], numbers [m].

        An average starts at 0, and is divided by the weight accumulated so far (the paper's bias correction). It is 0
        for an image seen for the first time.
        """
        (images, labels), (others, numbers) = labelled, unlabelled
        known = 1 - self.memory ** self.seen[numbers, None]
        targets = self.averages[numbers] / known.clamp(min=1e-6)
        return views.noise(self.weak(torch.cat([images, others])), self.rng, self.noise), (labels, targets, numbers)

    def loss(self, scores, withheld):
        """Algorithm 2 of the paper. A constant prediction costs the variance of the averages."""
        labels, targets, numbers = withheld
        named, rest = scores.tensor_split([len(labels)])
        shares, known = rest.softmax(1), targets.sum(1) > 0
        self.keep(numbers, shares)
        costs, sure = known * (shares - targets).square().mean(1), losses.mean(known)
        terms = self.terms(named, labels, costs, self.risen, sure)
        mean = targets.sum(0) / known.sum().clamp(min=1)
        return terms | {"trivial": self.trivial(losses.mean(known * (targets - mean).square().mean(1)))}

    def after_step(self):
        super().after_step()
        if self.fresh:
            numbers, shares = map(losses.gather, self.kept())
            self.averages[numbers] = torch.lerp(shares, self.averages[numbers], self.memory)
            self.seen[numbers] += 1

    def picture(self, seen, withheld, scores=None):
        """Unlabelled images with their average predictions; no average is shown as a probability of 0."""
        return super().picture(seen, withheld[:2], scores)
