"""Methods that learn to name classes, from a few labels and from what has none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from withhold import losses, nets, views
from withhold.methods.answers import Class
from withhold.methods.base import Method, accuracy
from withhold.nets import Encoder, logistic

MOST = 5000
"""Windows that a head is fitted to before the training."""
LEAST_RAMP = 2500
"""Steps that a weight takes to rise, however short the training: about five epochs of CIFAR-10, as mean teacher's."""
LEAST_RAMP = 2500
"""Steps that a weight takes to rise, however short the training: about five epochs of CIFAR-10, as mean teacher's."""


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

        So the first gradients do not undo what the encoder knows (LP-FT: Kumar et al., ICLR 2022). Features are scaled
        by one deviation: with few labels the rarely active ones would outweigh all others.

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
        mean, deviation = logistic.moments(features, alike=True)
        seed = torch.randint(2**31, (1,), generator=self.rng, device=device).item()
        found, _ = logistic.probe(
            (features - mean) / deviation, labels, len(self.classes), torch.Generator().manual_seed(int(seed)), owners,
            weights,
        )  # fmt: skip
        weight = found.weight / deviation
        self.head.weight.data.copy_(weight)
        self.head.bias.data.copy_(found.bias - weight @ mean)

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
        """
        if not len(views):
            return torch.zeros(0, len(self.classes), device=views.device)
        return (network or self.student())(views).float().softmax(1)

    def risen(self, ramp: float) -> float:
        """How far a weight has risen along a line, from 0 to 1 over a share `ramp` of the training.

        It takes `LEAST_RAMP` steps or more: guesses that count before anything is known teach the same answer to all.
        """
        return min(1.0, self.progress / ramp, self.steps / LEAST_RAMP)

    def terms(self, named: Tensor, labels: Tensor, costs: Tensor, risen: float = 1.0) -> dict[str, Any]:
        """The cross-entropy of the labelled items, and `weight * risen` times the mean cost of the others.

        Args:
            named: scores of the labelled items [n, k].
            labels: [n], or shares of the classes [n, k].
            costs: of the unlabelled items [m]; there may be none.
        """
        supervised, unsupervised = F.cross_entropy(named, labels), costs.sum() / max(1, len(costs))
        return {
            "loss": supervised + self.weight * risen * unsupervised,
            "supervised": supervised,
            "unsupervised": unsupervised,
            "accuracy": accuracy(named, labels if labels.ndim == 1 else labels.argmax(1)),
        }

    def classify(self, items):
        """The answers of the averaged weights."""
        return self.teacher(items)

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
        consistency, sure = scores.new_zeros(2)
        if len(rest):
            consistency, sure = losses.sure_divergence(answers, rest, self.temperature, self.confidence)
        return {
            "loss": supervised + self.weight * consistency,
            "supervised": supervised,
            "consistency": consistency,
            "accuracy": accuracy(named, labels),
            "sure": sure,
        }
