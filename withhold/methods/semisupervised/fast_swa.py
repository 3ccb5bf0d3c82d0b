"""fast-SWA: fast stochastic weight averaging."""

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
    Probability,
    SemiSupervised,
    accuracy,
    method,
)

CYCLES = 5


@method(
    paper="Athiwaratkun, Finzi, Izmailov & Wilson, ICLR 2019",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class FastSWA(SemiSupervised):
    """Withholds the label, or the network's own answer to another view; predicts it while weights are averaged.

    Consistency leaves many solutions that are as good, and the steps go on wandering among them; what lies amid them is
    better than any. So the learning rate falls and starts anew, cycle by cycle, and from the second one on the weights
    of several moments of each cycle, not only of its end, are averaged, all alike. That average is what has been
    learned. It goes with the paper's Pi-model here. While the network knows nothing, a constant answer would satisfy
    it: the weight of consistency rises slowly.

    Args:
        weight: of the squared difference of the answers, a mean over classes and over all images, labelled or not; 0
            takes nothing from those that are not.
        ramp: steps in which that weight rises: about five epochs of CIFAR-10.
        moments: of a cycle, at which the weights are averaged (10 in the paper).
        noise: deviation of the noise on every view: 0.15 of that of the pixels.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    optimizer = Optimizer(schedule="cyclic", cycles=CYCLES)

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        ramp: Count = 2_500,
        moments: Count = 10,
        noise: NonNegative = 0.04,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, 0.0, flip)
        self.ramp, self.moments, self.noise = ramp, moments, noise
        self.averaged = 0

    def withhold(self, labelled, unlabelled):
        """A view of every image; the labels, the network's answers to other views of all, and these."""
        images, labels = labelled
        images = torch.cat([images, unlabelled])
        seen, others = (views.noise(self.weak(images), self.rng, self.noise) for _ in range(2))
        return seen, (labels, self.answers(others), others)

    def loss(self, scores, withheld):
        """Cross-entropy, and what the answers differ by; a constant one would pay for the answers' own variance."""
        labels, answers, _ = withheld
        named = scores[: len(labels)]
        supervised = F.cross_entropy(named, labels)
        consistency = losses.squared_error(scores.softmax(1), answers)
        weight = self.weight * losses.ramp_up(self.steps, self.ramp)
        return {
            "loss": supervised + weight * consistency,
            "supervised": supervised,
            "consistency": consistency,
            "accuracy": accuracy(named, labels),
            "trivial": math.log(scores.shape[1]) + weight * answers.var(0, correction=0).mean(),
        }

    def after_step(self):
        """The average is the network itself in the first cycle, and then a plain mean over the moments so far."""
        self.steps += 1
        passed = int(self.progress * CYCLES * self.moments) - self.moments  # moments since the first cycle ended
        if passed < 0:
            self.teacher.update(self.student(), 0.0)
        elif passed >= self.averaged:
            self.averaged += 1
            self.teacher.update(self.student(), 1 - 1 / self.averaged)

    def get_extra_state(self):
        return torch.tensor([self.steps, self.averaged])

    def set_extra_state(self, state):
        self.steps, self.averaged = state.tolist()
