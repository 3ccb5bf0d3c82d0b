"""Base classes of semi-supervised methods: noisy views, mixtures, and strong views with confident predictions."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods.base import accuracy
from withhold.methods.classifier import SemiSupervised

LabelledViews = Literal["weak", "strong"]


class NoisyViews(SemiSupervised):
    """Base class of mean teacher: the predictions for two noisy views of an image, labelled or not, must agree.

    Args:
        usual: the arguments of `SemiSupervised`.
        noise: standard deviation of the noise on every view.
    """

    def __init__(self, *usual: Any, noise: float):
        super().__init__(*usual)
        self.noise = noise

    def view(self, images: Tensor) -> Tensor:
        """Images uint8 [n, c, h, w] -> a noisy view of each, float [n, c, size, size]."""
        return views.noise(self.weak(images), self.rng, self.noise)

    def guess(self, views: Tensor) -> Tensor:
        """Target class probabilities [n, k]: the predictions of the averaged weights."""
        return self.answers(views, self.teacher)

    def withhold(self, labelled, unlabelled):
        """A view of every image; the labels, the targets from a second view of every image, and the second views."""
        images, labels = labelled
        images = torch.cat([images, unlabelled])
        seen, others = self.view(images), self.view(images)
        return seen, (labels, self.guess(others), others)

    def loss(self, scores, withheld):
        """Cross-entropy and squared difference from the targets. A constant prediction costs the targets' variance."""
        labels, answers, _ = withheld
        differ = losses.squared_error(scores.softmax(1), answers)
        terms = self.terms(scores[: len(labels)], labels, differ, self.risen)
        guesses = accuracy(answers[: len(labels)], labels)
        return terms | {"guesses": guesses, "trivial": self.trivial(losses.spread(answers))}


class Mixtures(SemiSupervised):
    """Base class of MixMatch: every image is mixed with another one, labelled or not, and so are labels and guesses.

    A guess is the network's prediction, averaged over weak views and sharpened. The larger share of a mixture is always
    the image's own, so that mixtures stay mostly labelled or mostly unlabelled.

    Args:
        usual: the arguments of `SemiSupervised`.
        copies: number of weak views of an unlabelled image, all of which are seen and averaged for its guess.
        temperature: temperature of the sharpening; 1 leaves guesses as they are.
        alpha: the mixing shares are drawn from Beta(alpha, alpha).
    """

    def __init__(self, *usual: Any, copies: int, temperature: float, alpha: float):
        super().__init__(*usual)
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
        """The mean cost of scores [m, k] of the mixtures, given mixed guesses [m, k]; there may be none."""
        raise NotImplementedError(f"{type(self).__name__} defines no cost(scores, guesses).")

    def loss(self, scores, withheld):
        labels, guesses, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        return self.terms(named, labels, self.cost(rest, guesses), self.risen)


class ConsistencyTraining(SemiSupervised):
    """Base class of UDA for any kind of data: its targets are labels [n], its own predictions [m, k], and views.

    Source: Xie, Dai, Hovy, Luong & Le, NeurIPS 2020.

    Args:
        usual: the arguments of `SemiSupervised`.
        temperature: temperature of the sharpening; 1 leaves predictions as they are.
        confidence: minimum probability of the predicted class, before sharpening, for a prediction to count.
        annealing: schedule of the probability above which a labelled sample is left out; see `losses.annealing`.
        labelled_views: whether labelled samples get weak or strong views.
    """

    def __init__(
        self, *usual: Any, temperature: float, confidence: float, annealing: losses.Annealing,
        labelled_views: LabelledViews,
    ):  # fmt: skip
        super().__init__(*usual)
        self.temperature, self.confidence, self.annealing = temperature, confidence, annealing
        self.labelled_views = labelled_views

    def labelled_view(self, images):
        return self.strong(images) if self.labelled_views == "strong" else self.weak(images)

    def loss(self, scores, withheld):
        """Cross-entropy of the labelled samples not yet known well, plus the divergence from confident predictions."""
        labels, answers, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        known = losses.annealing(self.annealing, self.progress, len(self.classes))
        supervised = losses.annealed_cross_entropy(named, labels, known)
        consistency, sure = losses.sure_divergence(answers, rest, self.temperature, self.confidence)
        return self.terms(named, labels, consistency, sure=sure, supervised=supervised)
