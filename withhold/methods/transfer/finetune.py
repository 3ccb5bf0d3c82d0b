"""Fine-tuning: trains a classifier from a trained encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import views
from withhold.errors import UsageError
from withhold.methods import (
    Classifier,
    Count,
    Encoder,
    Freezing,
    NonNegative,
    Optimizer,
    Positive,
    Probability,
    Share,
    Stages,
    accuracy,
    method,
)


@method(
    paper="Yosinski, Clune, Bengio & Lipson, NIPS 2014; Kumar et al., ICLR 2022 (LP-FT)",
    needs={"labelled": "image | video | audio | text + label"},
    family="supervised",
)
class Finetune(Freezing, Classifier):
    """Withholds the label; predicts it from a light view of the sample, starting from a trained encoder.

    The head starts as a linear probe of the initial encoder, so that its first gradients do not destroy the encoder's
    features. With all stages frozen, it stays a probe and sees unaugmented samples. A randomly initialised encoder is
    trained from scratch: the control of He, Girshick & Dollar (ICCV 2019), which needs more steps. The training options
    `--encoder-lr` and `--layer-decay` set the learning rates of the stages.

    Args:
        freeze: number of the encoder's stages to freeze, counted from the input; "all", or "none". The statistics of
            their batch normalisation are frozen too.
        probe: whether the head starts as a linear probe instead of at random.
        smoothing: share of a label that is spread over all classes (label smoothing).
        mixup: the mixing shares of two samples are drawn from a Beta distribution with this parameter; higher values
            mix more evenly, and 0 mixes none. Texts cannot be mixed.
        balance: whether all classes have the same weight, whatever their number of samples.
        l2_sp: weight of half the squared distance from the initial weights, which replaces weight decay (L2-SP: Li,
            Grandvalet & Davoine, ICML 2018); it does not apply to the head.
        flip: probability of a horizontal flip of images; 0 for digits and letters.
        frames: frames per clip.
        fps: frames per second.
        seconds: length of a window of sound.
        tokens: tokens per window of text.
        tokenizer: the tokenizer of the text: "words:N" or "wordpiece:N", with a vocabulary of N.
    """

    shares: Tensor
    start: Tensor

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        freeze: Stages = None,
        probe: bool = True,
        smoothing: Share = 0.0,
        mixup: NonNegative = 0.0,
        balance: bool = False,
        l2_sp: NonNegative = 0.0,
        flip: Probability = 0.5,
        frames: Count = 16,
        fps: Positive = 15.0,
        seconds: Positive = 1.0,
        tokens: Count = 128,
        tokenizer: str = "words:20000",
    ):
        super().__init__(encoder, classes)
        if mixup and encoder.kind == "text":
            raise UsageError("finetune: texts cannot be mixed. Leave mixup out.")
        self.freeze(freeze)
        self.still = not any(weight.requires_grad for weight in encoder.parameters())
        self.probe, self.smoothing, self.mixup = probe, smoothing, mixup
        self.balance, self.l2_sp, self.flip = balance, l2_sp, flip
        self.register_buffer("shares", torch.full((len(classes),), 1 / len(classes)))
        if l2_sp:
            self.optimizer = Optimizer(weight_decay=0.0)
            self.register_buffer("start", self.tuned().detach())

    def tuned(self) -> Tensor:
        """All trained weights of the encoder, as one vector."""
        weights = [weight.flatten() for weight in self.encoder.parameters() if weight.requires_grad]
        return torch.cat([*weights, self.head.weight.new_zeros(0)])

    def prepare(self, labelled):
        """Count the samples of each class, and fit the head."""
        self.shares.copy_(self.class_frequencies(labelled))
        if self.probe:
            self.fit_head(labelled, self.weights())

    def withhold(self, labelled):
        """A batch as `data` gives it, and labels [n] -> light views; class probabilities [n, k].

        The samples of a fully frozen encoder are not augmented: it cannot learn invariance to augmentation, so views
        would only blur its classes.
        """
        items, labels = labelled
        seen = views.to_float(items) if self.still else self.encoder.light_view(items, self.rng, self.flip)
        targets = self.spread(F.one_hot(labels, len(self.classes)).float())
        return views.mixup(seen, targets, self.rng, self.mixup) if self.mixup else (seen, targets)

    def predict(self, seen):
        return self.classify(seen)

    def loss(self, scores, targets):
        """Cross-entropy, plus L2-SP if set. "trivial" is the loss of the best constant prediction."""
        weights = self.weights()
        expected = weights * self.spread(self.shares)
        terms = {
            "loss": F.cross_entropy(scores, targets, weights),
            "accuracy": accuracy(scores, targets.argmax(1)),
            "trivial": -(expected * (expected / expected.sum()).clamp(min=1e-12).log()).sum(),
        }
        if self.l2_sp:
            terms["strayed"] = (self.tuned() - self.start).square().sum()
            terms["loss"] = terms["loss"] + self.l2_sp / 2 * terms["strayed"]
        return terms

    def spread(self, shares: Tensor) -> Tensor:
        """Class probabilities [..., k] with label smoothing."""
        return (1 - self.smoothing) * shares + self.smoothing / len(self.classes)

    def weights(self) -> Tensor:
        """The weight of each class [k], with mean 1 over the samples."""
        if not self.balance:
            return torch.ones_like(self.shares)
        found = self.shares > 0
        return torch.where(found, 1 / (self.shares * found.sum()), 0.0)

    def picture(self, seen, targets, scores=None):
        labels = targets if self.mixup else targets.argmax(1)
        columns = {"seen": self.encoder.draw(seen), "label": self.captions(labels)}
        return columns if scores is None else columns | {"said": self.captions(scores.float().softmax(1))}
