"""FreeMatch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import losses
from withhold.methods import (
    ImageEncoder,
    Magnitude,
    NonNegative,
    Probability,
    SemiSupervised,
    Share,
    method,
)


@method(
    paper="Wang et al., ICLR 2023",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class FreeMatch(SemiSupervised):
    """Withholds the label, or a weak view's prediction of above-average confidence; predicts it from a strong view.

    The confidence threshold adapts: it is the moving average of the network's highest class probability. It starts at
    chance, so that many images count at once, and rises as the network learns. Classes that are predicted rarely have
    lower thresholds, so that classes learned first do not dominate; this assumes classes of similar frequency. For the
    same purpose, the fairness term makes the mean prediction for a batch match the mean prediction for all images.

    The paper's equation 11 and its code have the fairness term with the opposite sign, which would separate the two
    distributions and has no lower bound. This implementation follows the paper's text.

    Args:
        weight: weight of the cross-entropy with the guesses, averaged over all unlabelled images; 0 ignores them.
        fairness: weight of the fairness term, relative to 1 for the labels (0.001 to 0.05 in the paper).
        memory: share of themselves that the averages for the thresholds keep in a step; 0.999 in the paper, for a
            million steps.
        magnitude: magnitude of RandAugment's operations, from 0 to 30.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    compares = True
    sureness: Tensor
    shares: Tensor
    histogram: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        fairness: NonNegative = 0.01,
        memory: Share = 0.99,
        magnitude: Magnitude = 15.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, magnitude)
        self.fairness, self.memory = fairness, memory
        chance = torch.full((len(self.classes),), 1 / len(self.classes))
        self.register_buffer("sureness", chance[0].clone())  # mean highest class probability
        self.register_buffer("shares", chance.clone())  # mean probability of each class
        self.register_buffer("histogram", chance.clone())  # frequency of each class as the prediction

    def withhold(self, labelled, unlabelled):
        seen, withheld = super().withhold(labelled, unlabelled)
        if len(unlabelled):
            self.keep(withheld[1])
        return seen, withheld

    @property
    def confidence(self) -> Tensor:
        """The confidence threshold of each class [k] (equation 8)."""
        return self.sureness * self.shares / self.shares.max()

    def loss(self, scores, withheld):
        """Equations 9, 11 and 12 of the paper."""
        labels, answers, _ = withheld
        named, rest = scores.tensor_split([len(labels)])
        consistency, sure = losses.sure_cross_entropy(answers, rest, self.confidence)
        counts = answers.amax(1) >= self.confidence[answers.argmax(1)]
        unfair = self.unfairness(rest.softmax(1) * counts[:, None])
        terms = self.terms(named, labels, consistency, sure=sure)
        terms["loss"] = terms["loss"] + self.fairness * unfair
        return terms | {"fairness": unfair}

    def unfairness(self, said: Tensor) -> Tensor:
        """Cross-entropy of strong views' mean prediction, from `said` [m, k], with that for all images as the target.

        Both are class probabilities divided by how often each class is predicted, and normalised. Rows of zeros do not
        count; if there are no others, the result is 0.
        """
        known = said.sum(1) > 0
        often = F.one_hot(said.argmax(1), said.shape[1]).mul(known[:, None]).sum(0)
        present = often > 0
        batch = torch.where(present, said.sum(0) / often.clamp(min=1), 0)
        usual = torch.where(present, self.shares / self.histogram.clamp(min=1e-6), 0)
        usual, batch = (part / part.sum().clamp(min=1e-6) for part in (usual, batch))
        return -(usual * batch.where(present, 1).log()).sum()

    def after_step(self):
        super().after_step()
        if self.fresh:
            (answers,) = map(losses.gather, self.kept())
            likeliest = F.one_hot(answers.argmax(1), answers.shape[1]).float()
            means = (answers.amax(1).mean(), answers.mean(0), likeliest.mean(0))
            for average, mean in zip((self.sureness, self.shares, self.histogram), means, strict=True):
                average.lerp_(mean, 1 - self.memory)
