"""What several semi-supervised methods learn from: noisy views, mixtures, and strong views of what they are sure of."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods.base import accuracy
from withhold.methods.classifier import SemiSupervised
from withhold.nets import Encoder


class NoisyViews(SemiSupervised):
    """What mean teacher learns from: the answers to two noisy views of an image, labelled or not, shall agree.

    Args:
        noise: deviation of the noise on every view.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        weight: float,
        noise: float,
        momentum: float,
        flip: float,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.noise = noise

    def view(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w] -> a noisy view of each, float [n, c, size, size]."""
        return views.noise(self.weak(images), self.rng, self.noise)

    def guess(self, views: Tensor) -> Tensor:
        """The shares of the classes [n, k] that are to be agreed with: the averaged weights' answers."""
        return self.answers(views, self.teacher)

    def withhold(self, labelled, unlabelled):
        """A view of every image; the labels, the answers to other views of all, and these."""
        images, labels = labelled
        images = torch.cat([images, unlabelled])
        seen, others = self.view(images), self.view(images)
        return seen, (labels, self.guess(others), others)

    def loss(self, scores, withheld):
        """Cross-entropy, and what the answers differ by; a constant one would pay for the answers' own variance."""
        labels, answers, _ = withheld
        differ = losses.squared_error(scores.softmax(1), answers)
        terms = self.terms(scores[: len(labels)], labels, differ, self.risen)
        spread = answers.var(0, correction=0).mean()
        return terms | {
            "guesses": accuracy(answers[: len(labels)], labels),
            "trivial": math.log(scores.shape[1]) + self.weight * self.risen * spread,
        }


class Mixtures(SemiSupervised):
    """What MixMatch learns from: every image is mixed with another one, labelled or not, and so are labels and guesses.

    A guess is the network's answer averaged over weak views and sharpened. The larger share is always the image's own:
    it stays known which are mostly labelled.

    Args:
        copies: how many weak views of an unlabelled image are seen, and averaged over for its guess.
        temperature: of the sharpening; 1 leaves guesses as they are.
        alpha: of the Beta(alpha, alpha) that shares are drawn from.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        weight: float,
        copies: int,
        temperature: float,
        alpha: float,
        momentum: float,
        flip: float,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.copies, self.temperature, self.alpha = copies, temperature, alpha

    def withhold(self, labelled, unlabelled):
        """Mixed views; the mixed labels [n, k], the mixed guesses [copies * m, k], and the unlabelled views unmixed."""
        images, labels = labelled
        others = self.weak(unlabelled.repeat(self.copies, 1, 1, 1))
        said = self.answers(others).unflatten(0, (self.copies, len(unlabelled))).mean(0)
        guesses = losses.sharpen(said, self.temperature).repeat(self.copies, 1)
        targets = torch.cat([F.one_hot(labels, len(self.classes)).float(), guesses])
        seen, mixed = views.mixup(torch.cat([self.weak(images), others]), targets, self.rng, self.alpha)
        return seen, (mixed[: len(labels)], mixed[len(labels) :], others)

    def cost(self, scores: Tensor, guesses: Tensor) -> Tensor:
        """What mixed guesses [m, k] cost on average, beside scores [m, k] of the mixtures; there may be none."""
        raise NotImplementedError(f"{type(self).__name__} defines no cost(scores, guesses).")

    def loss(self, scores, withheld):
        labels, guesses, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        return self.terms(named, labels, self.cost(rest, guesses), self.risen)


class ConsistencyTraining(SemiSupervised):
    """What UDA learns from, whatever an item is: what was withheld are labels [n], its own answers [m, k], and views.

    Source: Xie, Dai, Hovy, Luong & Le, NeurIPS 2020.

    Args:
        temperature: of the sharpening; 1 leaves answers as they are.
        confidence: how sure an answer must be, before sharpening, to count.
        annealing: how the confidence at which a labelled item is left out rises; see `losses.annealing`.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        weight: float,
        temperature: float,
        confidence: float,
        annealing: losses.Annealing,
        momentum: float,
        flip: float = 0.0,
        magnitude: float = 0.0,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, magnitude)
        self.temperature, self.confidence, self.annealing = temperature, confidence, annealing

    def loss(self, scores, withheld):
        """Cross-entropy of the labelled that are not known well, and the divergence of the unlabelled that are sure."""
        labels, answers, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        known = losses.annealing(self.annealing, self.progress, len(self.classes))
        supervised = losses.annealed_cross_entropy(named, labels, known)
        consistency, sure = losses.sure_divergence(answers, rest, self.temperature, self.confidence)
        return self.terms(named, labels, consistency, sure=sure, supervised=supervised)
