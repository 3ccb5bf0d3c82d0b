"""Base classes of methods that learn to predict classes, from labels or from a few labels and unlabelled samples."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.errors import UsageError
from withhold.methods.answers import Class
from withhold.methods.base import Method, accuracy
from withhold.nets import Encoder, logistic

MOST = 5000
"""Maximum number of windows to which the head is fitted before training."""
RAMP = 0.4
"""Share of a long training over which the weight of guesses rises."""
LEAST_RAMP = 2500
"""Minimum number of steps over which it rises: about five epochs of CIFAR-10, as in mean teacher."""
LATEST = 0.8
"""Share of any training after which it has fully risen."""


class Classifier(Method):
    """A method with a linear head over its encoder that predicts a class.

    If one of its streams has labels, the class names come from the data; they are not a parameter. Without such a
    stream, the method finds classes itself and chooses their names.

    Args:
        classes: the names of the classes, in the order of their numbers.
    """

    batch_size = 64  # of each stream, as in the papers: with few labels, many small batches

    def __init__(self, encoder: Encoder, classes: Sequence[str]):
        super().__init__(encoder)
        self.classes = tuple(classes)
        self.head = nn.Linear(encoder.dim, len(self.classes))

    @property
    def taught(self) -> bool:
        """Whether the classes come from labels."""
        return any(need.labelled for need in self.needs.values())

    def class_frequencies(self, labelled: Any) -> Tensor:
        """The share of each class [k] among the labels of a stream, as `prepare` gets it."""
        labels = torch.as_tensor(labelled.labels, device=self.head.weight.device)
        return labels.bincount(minlength=len(self.classes)) / len(labels)

    def fit_head(self, labelled: Any, weights: Tensor | None = None) -> None:
        """Fit the head as a linear probe on the encoder's current features, with the encoder in its current mode.

        The first gradients then do not destroy what the encoder has learned (LP-FT: Kumar et al., ICLR 2022). Features
        are averaged over the windows of a long sample, as its scores are later.

        Args:
            labelled: a stream with labels, as `prepare` gets it.
            weights: weight of each class [k]; equal weights if None.
        """
        device = self.head.weight.device
        rows = self.some(len(labelled), MOST)  # shuffled: batches of one class would have its own batch statistics
        labels, owners = (torch.as_tensor(part, device=device)[rows] for part in (labelled.labels, labelled.owners))
        with torch.inference_mode():
            parts = [self.encoder(items) for items in nets.batches(labelled, rows, device)]
        samples, owners = owners.unique(return_inverse=True)
        features = nets.averaged(torch.cat(parts), owners, len(samples))
        labels = labels.new_zeros(len(samples)).scatter_(0, owners, labels)
        found, _ = logistic.head(features, labels, len(self.classes), weights)
        self.head.weight.data.copy_(found.weight)
        self.head.bias.data.copy_(found.bias)

    def temper(self, temperature: float) -> None:
        """Divide all scores by a temperature permanently, by dividing the head's weights and bias."""
        for part in self.heads():
            part.weight.data.div_(temperature)
            part.bias.data.div_(temperature)

    def heads(self) -> list[nn.Linear]:
        """The layers that produce the scores: the head, and copies of it that are used in its place."""
        return [self.head]

    def classify(self, items: Tensor) -> Tensor:
        """Return the trained method's class scores [n, k] of what the encoder takes.

        Images are float [n, c, h, w] in [0, 1], texts are token numbers [n, l].
        """
        return self.head(self.encoder(items))

    def apply_to(self, item):
        """Return the most probable "class" of a sample. Scores are averaged over the windows of a long sample."""
        shares = self.classify(self.encoder.cut(item)).mean(0).softmax(0)
        named = dict(zip(self.classes, shares.tolist(), strict=True))
        return {"class": Class(self.classes[shares.argmax()], shares.max().item(), named)}

    def captions(self, answers: Tensor) -> list[str]:
        """Labels [n] -> class names; class probabilities [n, k] -> the most probable class and its probability."""
        if answers.ndim == 1:
            return [self.classes[number] for number in answers.tolist()]
        shares, numbers = answers.max(1)
        return [f"{self.classes[i]} {share:.0%}" for i, share in zip(numbers.tolist(), shares.tolist(), strict=True)]


class SemiSupervised(Classifier):
    """A classifier that learns from labelled samples, and from unlabelled samples with predicted labels ("guesses").

    If the encoder is pretrained, the head starts as a linear probe, so that the first guesses are good.

    Labelled and unlabelled samples go through the network in one pass, so that batch normalisation sees one
    distribution. The result is the moving average of the weights. It is a plain mean for the first 1 / (1 - momentum)
    steps, so that a short run does not keep the initial weights (Tarvainen & Valpola, 2017).

    `withhold` returns the views that the network sees, the labelled samples' first. As targets, it returns the labels
    [n], or class probabilities [n, k]; then, if there are any, the guesses [m, k] and the views [m] from which they
    were made. By default the network sees strong views of the unlabelled images, and the guesses are its own
    predictions for weak views.

    Args:
        weight: weight of the loss on guesses, relative to 1 for the labels. With 0 the unlabelled stream arrives empty,
            so that it affects neither the loss, nor the gradients, nor the batch statistics.
        momentum: share of itself that the moving average of the weights keeps in a step.
        flip: probability of a horizontal flip of images.
        magnitude: magnitude of RandAugment's operations in strong views, from 0 to 30.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        weight: float,
        momentum: float,
        flip: float = 0.0,
        magnitude: float = 0.0,
    ):
        super().__init__(encoder, classes)
        self.weight, self.momentum, self.flip, self.magnitude = weight, momentum, flip, magnitude
        self.teacher = nets.Teacher(self.student())
        self.steps = 0  # a number, not a buffer: reading a buffer from a GPU would synchronise in every step

    def prepare(self, labelled, unlabelled):
        if self.encoder.learned:
            self.fit_head(labelled)
            self.teacher.update(self.student(), 0.0)

    def student(self) -> nn.Module:
        """From samples to scores: the network that is trained, and that the moving average follows."""
        return nn.Sequential(self.encoder, self.head)

    def weak(self, images: Tensor) -> Tensor:
        """Images uint8 [n, c, h, w] -> a weakly augmented view of each, float [n, c, size, size]."""
        return views.weak(images, self.rng, size=self.encoder.size, flip=self.flip)

    def strong(self, images: Tensor) -> Tensor:
        """Images uint8 [n, c, h, w] -> a strongly augmented view of each, float [n, c, size, size]."""
        return views.strong(images, self.rng, size=self.encoder.size, flip=self.flip, magnitude=self.magnitude)

    def labelled_view(self, images: Tensor) -> Tensor:
        """The view of labelled images: a weak one."""
        return self.weak(images)

    def withhold(self, labelled, unlabelled):
        """Views of labelled, strong views of unlabelled images; labels, guesses from weak views, these weak views."""
        images, labels = labelled
        others = self.weak(unlabelled)
        answers = self.answers(others)
        return torch.cat([self.labelled_view(images), self.strong(unlabelled)]), (labels, answers, others)

    @property
    def ignored(self):
        return () if self.weight else [stream for stream, need in self.needs.items() if not need.labelled]

    def predict(self, seen):
        return self.student()(seen)

    def answers(self, views: Tensor, network: Any = None) -> Tensor:
        """Class probabilities, float32 [n, k], of views of unlabelled samples; there may be none.

        They are those of `network`, by default the network that is trained.

        Raises:
            UsageError: there is only one sample, and the network normalises features over the batch.
        """
        if not len(views):
            return torch.zeros(0, len(self.classes), device=views.device)
        try:
            return (network or self.student())(views).float().softmax(1)
        except ValueError as error:
            if len(views) > 1:
                raise
            raise UsageError(
                f"{self.name} with {type(self.encoder).__name__} normalises features over the unlabelled samples of a "
                "batch, and there is only one. Give two or more."
            ) from error

    @property
    def risen(self) -> float:
        """The ramp-up of the weight of guesses, from nearly 0 to 1, along half a Gaussian (`losses.ramp_up`).

        If guesses count before the network has learned anything, it learns to give the same prediction for all samples.
        The weight therefore rises over a share `RAMP` of the training, and over at least `LEAST_RAMP` steps. It has
        always risen by `LATEST`, or a short training would learn nothing from unlabelled samples. The learning rate
        falls meanwhile: weighted by the learning rate, guesses get a quarter of their weight in trainings below 3,000
        steps, and more than half in long ones.
        """
        slow = min(self.progress / RAMP, self.steps / LEAST_RAMP)
        return losses.ramp_up(max(slow, self.progress / LATEST))

    def trivial(self, spread: Tensor | float) -> Tensor | float:
        """The loss of a constant prediction: all classes alike for labels, and for guesses their mean variance."""
        return math.log(len(self.classes)) + self.weight * self.risen * spread

    def terms(
        self,
        named: Tensor,
        labels: Tensor,
        costs: Tensor,
        risen: float = 1.0,
        sure: Tensor | float = 1.0,
        supervised: Tensor | None = None,
    ) -> dict[str, Any]:
        """The cross-entropy of the labelled samples, plus `weight * risen` times the mean cost of the others.

        "counted" is the share of the weight with which unlabelled samples counted in this step.

        Args:
            named: scores of the labelled samples [n, k].
            labels: [n], or class probabilities [n, k].
            costs: costs of the unlabelled samples [m], or their mean; there may be none.
            risen: the ramp-up of the weight, in [0, 1].
            sure: share of the unlabelled samples whose cost counts.
            supervised: the cost of the labelled samples, if it is not their cross-entropy.
        """
        supervised = F.cross_entropy(named, labels) if supervised is None else supervised
        unsupervised = losses.mean(costs)
        return {
            "loss": supervised + self.weight * risen * unsupervised,
            "supervised": supervised,
            "unsupervised": unsupervised,
            "accuracy": accuracy(named, labels if labels.ndim == 1 else labels.argmax(1)),
        } | ({"counted": risen * sure} if self.weight else {})

    def classify(self, items):
        """Class scores of the averaged weights."""
        return self.teacher(items)

    def heads(self):
        return [self.head, self.teacher.network[-1]]

    def after_step(self):
        self.steps += 1
        self.teacher.update(self.student(), min(self.momentum, 1 - 1 / self.steps))

    def finish(self, plain):
        """The averaged weights become those of the network, so that features and scores are of the same encoder."""
        super().finish(plain)
        nets.refresh_statistics(self.teacher, plain())
        self.student().load_state_dict(self.teacher.network.state_dict())

    def get_extra_state(self):
        return torch.tensor(self.steps)

    def set_extra_state(self, state):
        self.steps = int(state)

    def picture(self, seen, withheld, scores=None):
        """Unlabelled images or captions with their guess and the view it was made from, next to labelled ones."""
        labels, *guessed = withheld
        n = len(labels)
        columns = {"seen": seen[-n:]}
        if len(seen) > n:
            shown = ((name, part[-n:]) for name, part in zip(("guess", "guessed from"), guessed, strict=False))
            columns |= {name: self.captions(part) if name == "guess" else part for name, part in shown}
            columns["labelled"] = seen[:n]
        columns["label"] = self.captions(labels)
        if scores is not None:
            columns["said"] = self.captions(scores[-n:].float().softmax(1))
        return columns
