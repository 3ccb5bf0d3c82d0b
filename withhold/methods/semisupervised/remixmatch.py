"""ReMixMatch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import (
    Count,
    ImageEncoder,
    Magnitude,
    NonNegative,
    Optimizer,
    Positive,
    Probability,
    SemiSupervised,
    Share,
    method,
)

TURNS = 4
REMEMBERED = 128
"""Number of steps over which predictions are averaged."""


@method(
    paper="Berthelot et al., ICLR 2020",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class ReMixMatch(SemiSupervised):
    """Withholds the labels of mixed images, given or guessed from a weak view, and a quarter turn; predicts all.

    Strong views of an image are trained on the guess from its weak view (augmentation anchoring). Guesses are scaled so
    that classes are predicted as often as they occur among the labels, and sharpened (distribution alignment), which
    rules out the same prediction for all images. Every view is mixed with another one, as in MixMatch. One strong view
    of each image also counts unmixed, and once more rotated, to predict the rotation. Strong views use RandAugment and
    an erased square of half the image's side, where the paper learns the strength of each operation.

    Args:
        weight: weight of the cross-entropy of mixed unlabelled views, averaged over these; 0 ignores unlabelled images
            entirely, and mixes the labelled images among themselves.
        anchor: weight of the cross-entropy of unmixed strong views.
        rotation: weight of the cross-entropy of quarter turns (2 in the paper with 40 labels).
        copies: number of strong views of an unlabelled image that are mixed, in addition to its weak view (8 in the
            paper).
        temperature: temperature of the sharpening; 1 leaves guesses as they are.
        alpha: the mixing shares are drawn from Beta(alpha, alpha); smaller values mix less.
        magnitude: magnitude of RandAugment's operations, from 0 to 30.
        momentum: share of itself that the moving average of the weights keeps in a step; 0.999 suits runs of 100,000
            steps and more.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    optimizer = Optimizer(lr=4e-3, weight_decay=0.02)  # 0.002 for 64 images
    prior: Tensor
    answered: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.5,
        anchor: NonNegative = 0.5,
        rotation: NonNegative = 0.5,
        copies: Count = 2,
        temperature: Positive = 0.5,
        alpha: Positive = 0.75,
        magnitude: Magnitude = 15.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, magnitude)
        self.anchor, self.rotation = anchor, rotation
        self.copies, self.temperature, self.alpha = copies, temperature, alpha
        self.turn_head = nn.Linear(encoder.dim, TURNS)
        k = len(self.classes)
        self.register_buffer("prior", torch.full((k,), 1 / k))  # class frequencies of the labels
        self.register_buffer("answered", torch.full((REMEMBERED, k), 1 / k))  # mean predictions of earlier steps

    def prepare(self, labelled, unlabelled):
        super().prepare(labelled, unlabelled)
        self.prior.copy_(self.class_frequencies(labelled))

    def withhold(self, labelled, unlabelled):
        """Mixed views, a strong view of each unlabelled image [m], the same rotated [m]; labels, guesses, views, turns.

        Labels [n, k] and guesses [(copies + 1) * m, k] are mixed, and followed by the m unmixed guesses. The views
        returned with them are the weak ones.
        """
        images, labels = labelled
        others = self.weak(unlabelled)
        answers = self.answers(others)
        if len(answers):
            self.keep(answers)
        guesses = losses.sharpen(losses.align(answers, self.answered.mean(0), self.prior), self.temperature)
        strong = self.strong(unlabelled.repeat(self.copies, 1, 1, 1))
        targets = torch.cat([F.one_hot(labels, len(self.classes)).float(), guesses.repeat(self.copies + 1, 1)])
        all_views = torch.cat([self.strong(images), strong, others])
        seen, mixed = views.mixup(all_views, targets, self.rng, self.alpha)
        anchored = strong[: len(others)]
        turns = torch.randint(TURNS, (len(others),), generator=self.rng, device=others.device)
        ways = torch.stack([anchored.rot90(turn, (2, 3)) for turn in range(TURNS)])
        turned = ways[turns, torch.arange(len(turns), device=turns.device)]
        withheld = (mixed[: len(labels)], torch.cat([mixed[len(labels) :], guesses]), others, turns)
        return torch.cat([seen, anchored, turned]), withheld

    def predict(self, seen):
        """Return scores of the classes and of the turns."""
        features = self.encoder(seen)
        return self.head(features), self.turn_head(features)

    def loss(self, predicted, withheld):
        """Equation 3 of the paper. A constant prediction costs the entropy of the mean guess."""
        (scores, ways), (labels, guesses, _, turns) = predicted, withheld
        m = len(turns)
        named, mixed, anchored, _ = scores.split([len(labels), len(guesses) - m, m, m])
        others, own = guesses.split([len(guesses) - m, m])
        pairs = ((mixed, others), (anchored, own), (ways[len(ways) - m :], turns))
        costs = [F.cross_entropy(said, true, reduction="sum") / max(1, len(true)) for said, true in pairs]
        weights, trivial = (self.weight * self.risen, self.anchor, self.rotation), math.log(len(self.classes))
        if m:
            entropies = (*(torch.special.entr(part.mean(0)).sum() for part in (others, own)), math.log(TURNS))
            trivial += sum(weight * entropy for weight, entropy in zip(weights, entropies, strict=True))
        terms = self.terms(named, labels, costs[0], self.risen)
        terms["loss"] = terms["loss"] + self.anchor * costs[1] + self.rotation * costs[2]
        return terms | {"anchor": costs[1], "rotation": costs[2], "trivial": trivial}

    def after_step(self):
        super().after_step()
        if self.fresh:
            (answers,) = self.kept()
            self.answered.copy_(torch.cat([self.answered[1:], losses.gather(answers).mean(0, keepdim=True)]))

    def picture(self, seen, withheld, predicted=None):
        """The picture of a semi-supervised method, without the rotated views."""
        *usual, turns = withheld
        kept = len(seen) - len(turns)
        return super().picture(seen[:kept], usual, None if predicted is None else predicted[0][:kept])
