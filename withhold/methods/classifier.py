"""Methods that learn to name classes, from a few labels and from what has none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from withhold import losses, nets, views
from withhold.errors import UsageError
from withhold.methods.answers import Class
from withhold.methods.base import Method, accuracy
from withhold.nets import Encoder, logistic

MOST = 5000
"""Windows that a head is fitted to before the training."""
RAMP = 0.4
"""Share of a long training in which the weight of guesses rises."""
LEAST_RAMP = 2500
"""Steps that it takes in a shorter one: about five epochs of CIFAR-10, as mean teacher's."""
LATEST = 0.8
"""Share of a training, however short, after which it has risen."""


class Classifier(Method):
    """A method with a linear head over its encoder, that answers with a class.

    One of its streams is of labelled images or texts, whose classes it is told when it is made: they are no parameter.
    One without such a stream finds classes itself, and names them as it likes.

    Args:
        classes: the names of the classes, in the order of their numbers.
    """

    batch_size = 64  # of each stream, as the papers have it: a small step for a few labels, and many of them

    def __init__(self, encoder: Encoder, classes: Sequence[str]):
        super().__init__(encoder)
        self.classes = tuple(classes)
        self.head = nn.Linear(encoder.dim, len(self.classes))

    @property
    def taught(self) -> bool:
        """Whether its classes are those of labels."""
        return any(need.labelled for need in self.needs.values())

    def fit_head(self, labelled: Any, weights: Tensor | None = None) -> None:
        """Make the head a linear probe of the features that the encoder gives, in its mode, as it is.

        So the first gradients do not undo what the encoder knows (LP-FT: Kumar et al., ICLR 2022).

        Args:
            labelled: a stream with labels, as `prepare` gets it.
            weights: how much each class counts [k]; alike if None.
        """
        device = self.head.weight.device
        rows = self.some(len(labelled), MOST)
        labels, owners = (torch.as_tensor(part, device=device)[rows] for part in (labelled.labels, labelled.owners))
        with torch.inference_mode():
            parts = [self.encoder(items) for items in nets.batches(labelled, rows, device)]
        features = torch.cat(parts)  # outside, so that it can be learned on
        seed = torch.randint(2**31, (1,), generator=self.rng, device=device).item()
        rng = torch.Generator().manual_seed(int(seed))
        found = logistic.head(features, labels, len(self.classes), rng, owners, weights)
        self.head.weight.data.copy_(found.weight)
        self.head.bias.data.copy_(found.bias)

    def temper(self, temperature: float) -> None:
        """Divide all scores by a temperature, for good: the head's weights and bias are."""
        for part in self.heads():
            part.weight.data.div_(temperature)
            part.bias.data.div_(temperature)

    def heads(self) -> list[nn.Linear]:
        """What gives the scores: the head, and copies of it that answer in its place."""
        return [self.head]

    def classify(self, items: Tensor) -> Tensor:
        """What the encoder takes -> the scores of the classes [n, k]: what the trained method says.

        Images are float [n, c, h, w] in [0, 1], texts token numbers [n, l].
        """
        return self.head(self.encoder(items))

    def apply_to(self, item):
        """An item -> its likeliest "class". Of what is cut into windows, the scores are the mean over these."""
        shares = self.classify(self.encoder.take(item)).mean(0).softmax(0)
        named = dict(zip(self.classes, shares.tolist(), strict=True))
        return {"class": Class(self.classes[shares.argmax()], shares.max().item(), named)}

    def captions(self, answers: Tensor) -> list[str]:
        """Labels [n] -> the names of the classes; shares of the classes [n, k] -> the name and share of the largest."""
        if answers.ndim == 1:
            return [self.classes[number] for number in answers.tolist()]
        shares, numbers = answers.max(1)
        return [f"{self.classes[i]} {share:.0%}" for i, share in zip(numbers.tolist(), shares.tolist(), strict=True)]


class SemiSupervised(Classifier):
    """A classifier that learns from labelled images or texts and from unlabelled ones, to which it guesses answers.

    Over an encoder that has learned before, its head starts as a linear probe, so that its first guesses are good ones.

    What it learns from goes through the network in one pass, so that batch normalisation sees one distribution. What it
    has learned is the moving average of its weights: a plain mean at first, until 1 / (1 - momentum) steps are behind
    it, so that a short run does not answer with what it started from (Tarvainen & Valpola, 2017).

    `withhold` gives the views that the network sees, the labelled items' first; and as what is withheld the labels
    [n], or shares of the classes [n, k], then where there are any the guesses [m, k], and the views [m] that these
    were made from. Here it shows strong views of the unlabelled images, and the guesses are the network's own answers
    to weak ones.

    Args:
        weight: of what is learned from guesses, beside 1 for the labels; at 0 the stream without labels arrives empty,
            so that nothing of it reaches the loss, the gradients or the batch statistics.
        momentum: share of itself that the average keeps in a step.
        flip: probability that a view of an image is a mirror image.
        magnitude: of RandAugment's operations in strong views, from 0 to 30.
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
        self.steps = 0  # a number and no buffer: reading one from a GPU would wait for it in every step

    def prepare(self, labelled, unlabelled):
        if self.encoder.learned:
            self.fit_head(labelled)
            self.teacher.update(self.student(), 0.0)

    def student(self) -> nn.Module:
        """From items to scores: what is trained, and what the average follows."""
        return nn.Sequential(self.encoder, self.head)

    def weak(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w] -> a weakly changed view of each, float [n, c, size, size]."""
        return views.weak(images, self.rng, size=self.encoder.size, flip=self.flip)

    def strong(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w] -> a strongly changed view of each, float [n, c, size, size]."""
        return views.strong(images, self.rng, size=self.encoder.size, flip=self.flip, magnitude=self.magnitude)

    def withhold(self, labelled, unlabelled):
        """Weak views of the labelled, strong ones of the unlabelled; labels, answers to weak views, and these."""
        images, labels = labelled
        others = self.weak(unlabelled)
        answers = self.answers(others)
        return torch.cat([self.weak(images), self.strong(unlabelled)]), (labels, answers, others)

    def hide(self, batch):
        if not self.weight:
            labelled = {stream for stream, need in self.needs.items() if need.labelled}
            batch = {
                stream: items if stream in labelled else tree_map(lambda part: part[:0], items)
                for stream, items in batch.items()
            }
        return super().hide(batch)

    def predict(self, seen):
        return self.student()(seen)

    def answers(self, views: Tensor, network: Any = None) -> Tensor:
        """The shares of the classes, float32 [n, k], for views of unlabelled items; there may be none.

        They are those of `network`, or of the one that is trained.

        Raises:
            UsageError: there is one, and the network normalises features over the views.
        """
        if not len(views):
            return torch.zeros(0, len(self.classes), device=views.device)
        try:
            return (network or self.student())(views).float().softmax(1)
        except ValueError as error:
            if len(views) > 1:
                raise
            raise UsageError(
                f"{self.name} over {type(self.encoder).__name__} normalises features over the unlabelled items of a "
                "batch, and there is one: give two or more."
            ) from error

    @property
    def risen(self) -> float:
        """How far the weight of guesses has risen, from nearly 0 to 1, along half a Gaussian (`losses.ramp_up`).

        Guesses that count before anything is known teach the same answer to all. So it takes a share `RAMP` of the
        training, and `LEAST_RAMP` steps or more; but by `LATEST` it has risen, or a short training would take nothing
        from what has no labels. The learning rate falls meanwhile: below 3,000 steps guesses count for a quarter of
        their weight, taken over all that is learned, and for more than half of it in long trainings.
        """
        slow = min(self.progress / RAMP, self.steps / LEAST_RAMP)
        return losses.ramp_up(max(slow, self.progress / LATEST))

    def terms(
        self,
        named: Tensor,
        labels: Tensor,
        costs: Tensor,
        risen: float = 1.0,
        sure: Tensor | float = 1.0,
        supervised: Tensor | None = None,
    ) -> dict[str, Any]:
        """The cross-entropy of the labelled items, and `weight * risen` times the mean cost of the others.

        "counted" is the share of that weight with which the others counted.

        Args:
            named: scores of the labelled items [n, k].
            labels: [n], or shares of the classes [n, k].
            costs: of the unlabelled items [m], or their mean; there may be none.
            risen: how far the weight has risen.
            sure: the share of the unlabelled items whose costs are not left out.
            supervised: what the labelled items cost, where that is not their cross-entropy.
        """
        supervised = F.cross_entropy(named, labels) if supervised is None else supervised
        unsupervised = costs.sum() / max(1, costs.numel())
        return {
            "loss": supervised + self.weight * risen * unsupervised,
            "supervised": supervised,
            "unsupervised": unsupervised,
            "accuracy": accuracy(named, labels if labels.ndim == 1 else labels.argmax(1)),
        } | ({"counted": risen * sure} if self.weight else {})

    def classify(self, items):
        """The answers of the averaged weights."""
        return self.teacher(items)

    def heads(self):
        return [self.head, self.teacher.network[-1]]

    def after_step(self):
        self.steps += 1
        self.teacher.update(self.student(), min(self.momentum, 1 - 1 / self.steps))

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.teacher, plain())

    def get_extra_state(self):
        return torch.tensor(self.steps)

    def set_extra_state(self, state):
        self.steps = int(state)

    def picture(self, seen, withheld, scores=None):
        """Unlabelled images, or captions, with their guess and the view it was made from, beside labelled ones."""
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
