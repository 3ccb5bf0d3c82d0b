"""DANN: domain-adversarial training."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Classifier, Count, ImageEncoder, NonNegative, Optimizer, accuracy, method

STEEPNESS = 10


@method(
    paper="Ganin et al., JMLR 2016",
    needs={"source": "image + label", "target": "image"},
    family="adapt",
)
class DANN(Classifier):
    """Withholds the source's classes, and which domain an image is from; predicts the first, and hides the second.

    A network of its own tells source from target by the encoder's features, and its gradient reaches the encoder
    reversed. Features that name the classes of the source and do not give the domain away fit the target too, as long
    as both have about as many items of each class. That network must be strong: when it lags behind, its accuracy falls
    below one half, because the features of the domains change places instead of mixing.

    Both domains get the same kind of views and go through the encoder as one batch: normalised by statistics of their
    own, they would look alike in training only. Common statistics fit neither of two very different domains; there an
    encoder without batch normalisation (`lenet`) is better. Views are not mirrored, which would turn digits into none.

    Args:
        weight: how strongly the encoder hides the domain in the end; 0 is the control that learns from the source only,
            and to which nothing of the target is shown. Where the source alone reads the target well, hiding costs more
            than it gives: compare a few values on the target by the protocol "information", which needs no label.
        hidden: width of the two layers that tell domains apart, as the paper has them for all but MNIST.
    """

    optimizer = Optimizer("sgd", lr=0.04)  # the paper's 0.01 for 64 images of each domain

    def __init__(self, encoder: ImageEncoder, classes: Sequence[str], weight: NonNegative = 1.0, hidden: Count = 1024):
        super().__init__(encoder, classes)
        self.weight = weight
        self.domain = nets.mlp((encoder.dim, hidden, hidden, 1), norm=False)

    @property
    def strength(self) -> float:
        """What the gradient is reversed with: from 0 at the start, while no domain is told yet, to `weight`."""
        return self.weight * (2 / (1 + math.exp(-STEEPNESS * self.progress)) - 1)

    def hide(self, batch):
        return super().hide(batch if self.weight else batch | {"target": batch["target"][:0]})

    def withhold(self, source, target):
        """Images uint8 [n, c, h, w] and labels [n], images [m, ...] -> crops float [n + m, c, size, size]; labels."""
        images, labels = source
        return torch.cat([self.view(images), self.view(target)]), labels

    def predict(self, images):
        """Scores of the classes [n + m, k], and scores [n + m] that are high where an image looks like the source."""
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
            terms["target_classes"] = torch.special.entr(answers).sum().exp()  # in effect; few of many is a collapse
            terms["trivial"] += math.log(4)
        return terms

    def finish(self, plain):
        """The control keeps the statistics of the source: those of both domains would adapt it."""
        if self.weight:
            super().finish(plain)

    def picture(self, images, labels, predicted=None):
        """The classes that were told, which are the source's; so no answer is marked right or wrong."""
        told = [self.classes[i] for i in labels.tolist()]
        columns = {"seen": images, "told": told + ["target"] * (len(images) - len(told))}
        if predicted is not None:
            columns["said"] = [self.classes[i] for i in predicted[0].argmax(1).tolist()]
        return columns

    def view(self, images):
        """A crop of each image, of the encoder's size and channels: domains may differ in both."""
        crops = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0), flip=0)
        return views.with_channels(crops, self.encoder.channels)
