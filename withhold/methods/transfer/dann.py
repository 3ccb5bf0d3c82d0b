"""DANN: domain-adversarial training."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from withhold import losses, nets
from withhold.methods import Classifier, Count, ImageEncoder, NonNegative, Optimizer, accuracy, method

STEEPNESS = 10


@method(
    paper="Ganin et al., JMLR 2016",
    needs={"source": "image + label", "target": "image"},
    family="adapt",
)
class DANN(Classifier):
    """Withholds the source's classes, and which domain an image is from; predicts the classes, and hides the domain.

    A domain classifier distinguishes source and target by the encoder's features, and its gradient reaches the encoder
    reversed. Features that predict the classes of the source but do not reveal the domain also suit the target, if the
    classes have similar frequencies in both. The domain classifier must be strong. If it lags behind, its accuracy
    falls below one half, because the features of the domains swap instead of mixing.

    Both domains get the same kind of views and go through the encoder in one batch: with separate batch statistics,
    they would look alike in training only. Shared statistics suit neither of two very different domains; an encoder
    without batch normalisation (`lenet`) is better for these. Views are not flipped, because a flipped digit is not a
    digit.

    Args:
        weight: final weight of the reversed gradient; 0 is the control, which learns from the source only and never
            sees the target. If the control is already accurate in the target, adaptation can lower the accuracy:
            compare a few values in the target by the protocol "information", which needs no labels.
        hidden: width of the two hidden layers of the domain classifier, as in the paper for all datasets but MNIST.
    """

    optimizer = Optimizer("sgd", lr=0.04)  # the paper's 0.01 for 64 images of each domain

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], weight: NonNegative = 1.0, hidden: Count = 1024):
        super().__init__(encoder, classes)
        self.weight = weight
        self.domain = nets.mlp((encoder.dim, hidden, hidden, 1), norm=False)

    @property
    def strength(self) -> float:
        """Factor of the reversed gradient: rises from 0, while the domain classifier is untrained, to `weight`."""
        return self.weight * (2 / (1 + math.exp(-STEEPNESS * self.progress)) - 1)

    @property
    def ignored(self):
        return () if self.weight else ("target",)

    def withhold(self, source, target):
        """Images uint8 [n, c, h, w], labels [n], images [m, ...] -> crops float [n + m, c, size, size]; labels."""
        images, labels = source
        return torch.cat([self.view(images), self.view(target)]), labels

    def predict(self, images):
        """Class scores [n + m, k], and domain logits [n + m], which are high for images that look like the source."""
        features = self.encoder(images)
        hidden = losses.reverse_gradient(features, self.strength)
        return self.head(features), self.domain(hidden).squeeze(1)

    def loss(self, predicted, labels):
        n = len(labels)
        scores, domain = predicted
        source, target = domain[:n], domain[n:]
        terms = {
            "loss": F.cross_entropy(scores[:n], labels),
            "accuracy": accuracy(scores[:n], labels),
            "trivial": math.log(len(self.classes)),
        }
        if len(target):
            answers = scores[n:].detach().softmax(1).mean(0)
            terms["loss"] = terms["loss"] + losses.discriminator_loss(source, target)
            terms["domain_accuracy"] = ((source > 0).float().mean() + (target < 0).float().mean()) / 2
            terms["target_classes"] = torch.special.entr(answers).sum().exp()  # effective number; low: collapse
            terms["trivial"] += math.log(4)
        return terms

    def picture(self, images, labels, predicted=None):
        """Images with predictions; only the source has labels, so no prediction is marked as right or wrong."""
        told = [self.classes[i] for i in labels.tolist()]
        columns = {"seen": images, "told": told + ["target"] * (len(images) - len(told))}
        if predicted is not None:
            columns["said"] = [self.classes[i] for i in predicted[0].argmax(1).tolist()]
        return columns

    def view(self, images):
        """A random crop of each image, with the encoder's size and channels; domains may differ in both."""
        return self.encoder.view(images, self.rng, crop=(0.6, 1.0), flip=0)
