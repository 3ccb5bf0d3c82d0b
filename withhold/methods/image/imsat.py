"""IMSAT: information-maximising self-augmented training."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from withhold import losses, views
from withhold.methods import Classifier, ImageEncoder, NonNegative, Optimizer, Positive, Several, method

VALUES = 2**22
"""Of the images that neighbours are looked for among."""
NEIGHBOUR = 10
REACH = 5.0
"""How far away the direction is tried in which answers differ most; the paper's 10 in pixels from -1 to 1."""


@method(
    paper="Hu, Miyato, Tokui, Matsumoto & Sugiyama, ICML 2017", needs={"images": "image + number"}, family="cluster"
)
class IMSAT(Classifier):
    """Withholds the network's own answer to an image, one of a few clusters; predicts it from the image, changed.

    One answer to all images would be the easiest to repeat. So each answer is to be sure, and all of them together are
    to be even: the mutual information of images and answers is to be large. The change is the one within reach that the
    answer minds most (virtual adversarial training), or a random turn, shift, scale and shear. The former suits images
    whose pixels are features by themselves, such as digits. In photographs it is noise, and clusters are colours.

    The loss is the divergence from the first answer, plus `weight` times (the mean entropy of an answer, plus `balance`
    times the divergence of the mean answer from even shares).

    Args:
        clusters: how many; a batch should hold many more images.
        change: "adversarial" or "affine".
        radius: of adversarial changes, as a share of the distance between an image and its tenth nearest neighbour.
        weight: of the mutual information.
        balance: of even shares, beside sure answers; a low one leaves clusters empty.
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
        nn.init.normal_(self.head.weight, std=1e-4)  # all answers are unsure at first
        self.register_buffer("radii", torch.zeros(0))

    def prepare(self, images):
        """How far each image may be changed: a share of its distance to the tenth nearest of all images.

        Of many images some are looked at: the tenth of all is about the first of a random tenth of them. Of fewer
        still it is the first as well, a little farther away.
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
        """uint8 [n, c, h, w] -> float [n, c, size, size]."""
        return views.augment(images, self.rng, size=self.encoder.size, flip=0)

    def withhold(self, images):
        """Images uint8 [n, c, h, w], numbers [n] -> these and changed ones, float [2n, c, size, size]; answers [n, k].

        The answers are the network's shares of the clusters.
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
        even = torch.special.entr(shares.clamp(min=1e-30)).sum()  # whose slope is endless at 0
        most = math.log(len(self.classes))
        return {
            "loss": constancy + self.weight * (unsure + self.balance * (most - even)),
            "constancy": constancy,
            "unsure": unsure,
            "clusters": even.exp(),  # in effect
            "trivial": self.weight * min(1.0, self.balance) * most,  # unsure of all; below 1, sure of one cluster
        }

    def picture(self, seen, answers, scores=None):
        plain, changed = seen.clamp(0, 1).chunk(2)
        columns = {"plain": plain, "seen": changed, "true": self.captions(answers.argmax(1))}
        if scores is not None:
            columns["said"] = self.captions(scores.chunk(2)[1].argmax(1))
        return columns
