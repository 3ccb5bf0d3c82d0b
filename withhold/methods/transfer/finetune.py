"""Fine-tuning: a classifier that goes on from what an encoder has learned."""

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
    """Withholds the label; predicts it from a light view of the item, going on from what the encoder has learned.

    The head starts as a linear probe of the encoder as it is, so that its first gradients do not undo what the
    encoder knows. With all stages frozen it stays a probe, and sees the items as they are. An encoder with fresh
    weights is trained from scratch: the control of He, Girshick & Dollar (ICCV 2019), which needs more steps. Learning
    rates by stage are options of the training: `--encoder-lr` and `--layer-decay`.

    Args:
        freeze: how many of the encoder's stages stay as they are, counted from the input; "all", or "none". Their batch
            normalisation keeps its statistics too.
        probe: whether the head starts as a linear probe, or at random.
        smoothing: share of a label that is spread over all classes (label smoothing).
        mixup: of two items, how even the shares are that are mixed: the parameter of a Beta distribution; 0 mixes none.
            Texts cannot be mixed.
        balance: whether all classes count alike, whatever their number of items.
        l2_sp: weight of half the squared distance from the weights at the start, which takes the place of weight decay
            (L2-SP: Li, Grandvalet & Davoine, ICML 2018); it does not hold the head.
        flip: probability that a view of images is a mirror image; 0 for digits and letters.
        frames: of a clip.
        fps: frames a second.
        seconds: of a sound that is seen at once.
        tokens: of a text that are read at once.
        tokenizer: what makes words of a text: "words:N" or "wordpiece:N", with N of them.
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
            raise UsageError("finetune: texts cannot be mixed: leave mixup out.")
        self.freeze(freeze)
        self.probe, self.smoothing, self.mixup = probe, smoothing, mixup
        self.balance, self.l2_sp, self.flip = balance, l2_sp, flip
        self.register_buffer("shares", torch.full((len(classes),), 1 / len(classes)))
        if l2_sp:
            self.optimizer = Optimizer(weight_decay=0.0)
            self.register_buffer("start", self.tuned().detach())

    def tuned(self) -> Tensor:
        """All weights of the encoder that are trained, in one row."""
        weights = [weight.flatten() for weight in self.encoder.parameters() if weight.requires_grad]
        return torch.cat([*weights, self.head.weight.new_zeros(0)])

    def prepare(self, labelled):
        """Count the classes, and fit the head."""
        labels = torch.as_tensor(labelled.labels, device=self.head.weight.device)
        self.shares.copy_(labels.bincount(minlength=len(self.classes)) / len(labels))
        if self.probe:
            self.fit_head(labelled, self.weights())

    def withhold(self, labelled):
        """What `data` gives of a batch, and labels [n] -> light views; shares of the classes [n, k].

        What the encoder cannot learn to overlook would only blur the classes of a frozen one.
        """
        items, labels = labelled
        still = self.encoder in self.frozen
        seen = views.to_float(items) if still else self.encoder.light_view(items, self.rng, self.flip)
        targets = self.spread(F.one_hot(labels, len(self.classes)).float())
        return views.mixup(seen, targets, self.rng, self.mixup) if self.mixup else (seen, targets)

    def predict(self, seen):
        return self.classify(seen)

    def loss(self, scores, targets):
        """Cross-entropy, and how far the encoder has gone; beside what the best guess costs that looks at nothing."""
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
        """Shares of the classes [..., k], with `smoothing` of them given to all classes alike."""
        return (1 - self.smoothing) * shares + self.smoothing / len(self.classes)

    def weights(self) -> Tensor:
        """How much each class counts [k], one on average over the items."""
        if not self.balance:
            return torch.ones_like(self.shares)
        found = self.shares > 0
        return torch.where(found, 1 / (self.shares * found.sum()), 0.0)

    def picture(self, seen, targets, scores=None):
        labels = targets if self.mixup else targets.argmax(1)
        columns = {"seen": self.encoder.draw(seen), "label": self.captions(labels)}
        return columns if scores is None else columns | {"said": self.captions(scores.float().softmax(1))}
