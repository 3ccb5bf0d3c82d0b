"""Methods that learn to name classes, from a few labels and from what has none."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from withhold import nets, views
from withhold.methods.base import Method
from withhold.nets import Encoder


class Classifier(Method):
    """A method with a linear head over its encoder, that answers with a class.

    One of its streams is of labelled images or texts, whose classes it is told when it is made: they are no parameter.

    Args:
        classes: the names of the classes, in the order of their numbers.
    """

    def __init__(self, encoder: Encoder, classes: Sequence[str]):
        super().__init__(encoder)
        self.classes = tuple(classes)
        self.head = nn.Linear(encoder.dim, len(self.classes))

    def classify(self, items: Tensor) -> Tensor:
        """What the encoder takes -> the scores of the classes [n, k]: what the trained method says.

        Images are float [n, c, h, w] in [0, 1], texts token numbers [n, l].
        """
        return self.head(self.encoder(items))


class SemiSupervised(Classifier):
    """A classifier that learns from labelled images or texts and from unlabelled ones, to which it guesses answers.

    What it learns from goes through the network in one pass, so that batch normalisation sees one distribution. What it
    has learned is the moving average of its weights: a plain mean at first, until 1 / (1 - momentum) steps are behind
    it, so that a short run does not answer with what it started from (Tarvainen & Valpola, 2017).

    `withhold` gives the views that the network sees, the labelled items' first; and as what is withheld the labels
    [n], or shares of the classes [n, k], the guesses [m, k], and the views [m] that these were made from.

    Args:
        weight: of what is learned from guesses, beside 1 for the labels.
        momentum: share of itself that the average keeps in a step.
        flip: probability that a view of an image is a mirror image.
    """

    def __init__(self, encoder: Encoder, classes: Sequence[str], weight: float, momentum: float, flip: float = 0.0):
        super().__init__(encoder, classes)
        if weight < 0:
            raise ValueError(f"weight must be at least 0, not {weight}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, not {momentum}.")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip must be between 0 and 1, not {flip}.")
        self.weight, self.momentum, self.flip = weight, momentum, flip
        self.teacher = nets.Teacher(self.student())
        self.steps = 0  # a number and no buffer: reading one from a GPU would wait for it in every step

    def student(self) -> nn.Module:
        """From items to scores: what is trained, and what the average follows."""
        return nn.Sequential(self.encoder, self.head)

    def weak(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w] -> a weakly changed view of each, float [n, c, size, size]."""
        return views.weak(images, self.rng, size=self.encoder.size, flip=self.flip)

    def predict(self, seen):
        return self.student()(seen)

    def classify(self, items):
        """The answers of the averaged weights."""
        return self.teacher(items)

    def after_step(self):
        self.steps += 1
        self.teacher.update(self.student(), min(self.momentum, 1 - 1 / self.steps))

    def get_extra_state(self):
        return torch.tensor(self.steps)

    def set_extra_state(self, state):
        self.steps = int(state)

    def picture(self, seen, withheld, scores=None):
        """Unlabelled images, or captions, with their guess and the view it was made from, beside labelled ones."""
        labels, guesses, others = withheld
        n = len(labels)
        columns = {
            "seen": seen[-n:],
            "guess": self.captions(guesses[-n:]),
            "guessed from": others[-n:],
            "labelled": seen[:n],
            "label": self.captions(labels),
        }
        if scores is not None:
            columns["said"] = self.captions(scores[-n:].float().softmax(1))
        return columns

    def captions(self, answers: Tensor) -> list[str]:
        """Labels [n] -> the names of the classes; shares of the classes [n, k] -> the name and share of the largest."""
        if answers.ndim == 1:
            return [self.classes[number] for number in answers.tolist()]
        shares, numbers = answers.max(1)
        return [f"{self.classes[i]} {share:.0%}" for i, share in zip(numbers.tolist(), shares.tolist(), strict=True)]
