"""IMSAT: information-maximising self-augmented training."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from withhold import losses, views
from withhold.methods import Classifier, ImageEncoder, NonNegative, Optimizer, Positive, Several, method

VALUES = 2**22
"""Maximum number of values of the images that are searched for neighbours."""
NEIGHBOUR = 10
REACH = 5.0
"""Length of the step that finds the adversarial direction: the paper's 10, for pixels from -1 to 1."""


@method(
    paper="Hu, Miyato, Tokui, Matsumoto & Sugiyama, ICML 2017", needs={"images": "image + number"}, family="cluster"
)
class IMSAT(Classifier):
    """Withholds the network's prediction for an image, one of a few clusters; predicts it from a changed version.

    The easiest consistent prediction is the same cluster for all images. Therefore each prediction must be confident,
    and all clusters must be equally frequent: the mutual information of images and predictions must be large. The
    change is either the one within a radius that affects the prediction most (virtual adversarial training), or a
    random rotation, shift, scale and shear. Adversarial changes suit images whose pixels are meaningful features, such
    as digits. In photographs they are noise, and clusters become colours.

    The loss is the divergence from the original prediction, plus `weight` times (the mean entropy of a prediction, plus
    `balance` times the divergence of the mean prediction from the uniform distribution).

    Args:
        clusters: number of clusters; a batch should hold many more images.
        change: "adversarial" or "affine".
        radius: size of adversarial changes, as a share of the distance between an image and its tenth nearest
            neighbour.
        weight: weight of the mutual information.
        balance: weight of equal cluster sizes, relative to confident predictions; a low value leaves clusters empty.
    """

    compares = True
    batch_size = 256
    optimizer = Optimizer(lr=2e-3, schedule="constant")
    radii: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        clusters: Several = 10,
        change: Literal["adversarial", "affine"] = "adversarial",
        radius: Positive = 0.25,
        weight: NonNegative = 0.1,
        balance: NonNegative = 4.0,
    ):
        super().__init__(encoder, [f"cluster {number}" for number in range(1, clusters + 1)])
        self.change, self.radius, self.weight, self.balance = change, radius, weight, balance
        nn.init.normal_(self.head.weight, std=1e-4)  # all predictions start near uniform
        self.register_buffer("radii", torch.zeros(0))

    def prepare(self, images):
        """Compute how far each image may be changed: a share of its distance to its tenth nearest neighbour.

        Of a large dataset, only a random part is searched: the tenth neighbour among all images is about the first
        among a random tenth of them. In a smaller part it is also the first, which is a little farther away.
        """
        if self.change == "affine":
            return
        count, device = len(images), self.head.weight.device
        self.radii.resize_(count)
        looked = self.some(count, max(NEIGHBOUR + 1, VALUES // math.prod(images.shape)))
        others = self.plain(images.batch(looked).to(device)).flatten(1)
        place = min(max(1, round(NEIGHBOUR * len(looked) / count)), len(looked) - 1)
        for part in torch.arange(count).split(512):
            distances = torch.cdist(self.plain(images.batch(part).to(device)).flatten(1), others)
            itself = (part[:, None] == looked).to(device)
            nearest = distances.masked_fill(itself, torch.inf).topk(place, largest=False).values
            self.radii[part.to(device)] = self.radius * nearest[:, -1]

    def plain(self, images):
        """Images uint8 [n, c, h, w] -> float [n, c, size, size]."""
        return views.augment(images, self.rng, size=self.encoder.size, flip=0)

    def withhold(self, images):
        """Images uint8 [n, c, h, w], numbers [n] -> plain and changed ones, float [2n, c, size, size]; targets [n, k].

        The targets are the network's cluster probabilities for the plain images.
        """
        images, numbers = images
        plain = self.plain(images)
        answers = self.classify(plain).float().softmax(1)
        if self.change == "affine":
            changed = views.affine(plain, self.rng, degrees=15, translate=0.1, scale=(0.8, 1.2), shear=0.2)
        else:
            worst = losses.virtual_adversarial(self.classify, plain, answers, REACH, self.rng)
            changed = plain + self.radii[numbers, None, None, None] * worst
        return torch.cat([plain, changed]), answers

    def predict(self, seen):
        return self.classify(seen)

    def loss(self, scores, answers):
        plain, changed = scores.chunk(2)
        constancy = losses.divergence(answers, changed).mean()
        unsure = losses.entropy(plain).mean()
        shares = losses.gather(plain.softmax(1)).mean(0)
        even = torch.special.entr(shares.clamp(min=1e-30)).sum()  # the gradient is infinite at 0
        most = math.log(len(self.classes))
        return {
            "loss": constancy + self.weight * (unsure + self.balance * (most - even)),
            "constancy": constancy,
            "unsure": unsure,
            "clusters": even.exp(),  # effective number
            "trivial": self.weight * min(1.0, self.balance) * most,  # uniform; below 1, always one cluster
        }

    def picture(self, seen, answers, scores=None):
        plain, changed = seen.clamp(0, 1).chunk(2)
        columns = {"plain": plain, "seen": changed, "true": self.captions(answers.argmax(1))}
        if scores is not None:
            columns["said"] = self.captions(scores.chunk(2)[1].argmax(1))
        return columns
