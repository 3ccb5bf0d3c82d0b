"""Mean teacher."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from withhold import losses, views
from withhold.methods import Count, ImageEncoder, NonNegative, Probability, SemiSupervised, Share, accuracy, method


@method(
    paper="Tarvainen & Valpola, NIPS 2017",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class MeanTeacher(SemiSupervised):
    """Withholds the label, or the answer of the averaged weights to another view; predicts it.

    The average is the better classifier, and teaches what it follows. While neither knows anything, a constant answer
    would satisfy both: the weight of consistency rises slowly. Views are moved, mirrored and noisy; unlike the paper's
    networks, ours drop nothing out.

    Args:
        weight: of the squared difference of the answers, a mean over classes and over all images, labelled or not; 0
            takes nothing from those that are not.
        ramp: steps in which that weight rises: about five epochs of CIFAR-10, as the paper's residual network had it.
        noise: deviation of the noise on every view: 0.15 of that of the pixels.
        momentum: share of itself that the teacher keeps in a step; 0.999 suits runs of 100,000 steps and more.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        ramp: Count = 2_500,
        noise: NonNegative = 0.04,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip)
        self.ramp, self.noise = ramp, noise

    def withhold(self, labelled, unlabelled):
        """A view of every image; the labels, the teacher's answers to other views of all, and these."""
        images, labels = labelled
        images = torch.cat([images, unlabelled])
        seen, others = self.view(images), self.view(images)
        return seen, (labels, self.teacher(others).float().softmax(1), others)

    def view(self, images):
        """uint8 [n, c, h, w] -> a noisy view of each, float [n, c, size, size]."""
        return views.noise(self.weak(images), self.rng, self.noise)

    def loss(self, scores, withheld):
        """Cross-entropy, and what the answers differ by; a constant one would pay for the teacher's own variance."""
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
            "teacher": accuracy(answers[: len(labels)], labels),
            "trivial": math.log(scores.shape[1]) + weight * answers.var(0, correction=0).mean(),
        }
