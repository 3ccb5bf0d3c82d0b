"""Few-shot learning with a self-supervised auxiliary task."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Classifier, ImageEncoder, NonNegative, Probability, accuracy, method

TURNS = 4
HIDDEN = 256


class CosineClassifier(nets.Prototypes):
    """Features [n, dim] -> scores [n, classes]: cosines with learned directions, times a learned scale.

    Source: Gidaris & Komodakis, CVPR 2018, section 3.2.
    """

    def __init__(self, dim: int, classes: int):
        super().__init__(dim, classes)
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * super().forward(features)


@method(
    paper="Gidaris, Bursuc, Komodakis, Perez & Cord, ICCV 2019",
    needs={"labelled": "image + label"},
    family="supervised",
)
class FewShot(Classifier):
    """Withholds the label, and an image's rotation or the positions of its patches; predicts both.

    The features are made for classes not seen in training: `withhold evaluate RUN DATA --protocol episodes` classifies
    samples of new classes from a few examples. Classes are separated by cosines alone, so that features of one class
    have the same direction, as the mean of examples requires. The auxiliary task keeps information that the training
    classes do not need. It has its own head with a hidden layer, so that the features need not solve it by themselves
    (in the paper, a residual block of the feature map). It must have an answer in the data: letters, cells and aerial
    photographs have no upright position. The paper's unlabelled images, for the auxiliary task alone, are not used.

    Args:
        pretext: auxiliary task: the quarter turn ("rotation"; all four copies of an image also train its class), the
            side of a patch on which another one lies ("location"), or "none".
        weight: weight of the auxiliary task's cross-entropy, relative to 1 for the class.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    shares: Tensor
    pairs: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        pretext: Literal["rotation", "location", "none"] = "rotation",
        weight: NonNegative = 1.0,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes)
        self.pretext, self.weight, self.flip = pretext, weight, flip
        self.head = CosineClassifier(encoder.dim, len(self.classes))  # type: ignore[assignment]
        self.register_buffer("shares", torch.full((len(self.classes),), 1 / len(self.classes)))
        self.trivial = 0.0  # the trivial loss of the auxiliary task
        if pretext == "rotation":
            self.trivial = math.log(TURNS)
            self.pretext_head = nets.mlp([encoder.dim, HIDDEN, TURNS])
        elif pretext == "location":
            self.grid, self.tile = views.tiling(encoder.size, None)
            self.register_buffer("pairs", views.neighbours(self.grid))
            self.trivial = losses.entropy_of_counts(self.pairs[:, 2], len(views.SIDES)).item()
            self.pretext_head = nets.mlp([2 * encoder.dim, HIDDEN, len(views.SIDES)])

    def prepare(self, labelled):
        """Count the samples of each class."""
        self.shares.copy_(self.class_frequencies(labelled))

    def temper(self, temperature):
        """Divide the scale of the cosines."""
        self.head.scale.data.div_(temperature)

    def withhold(self, labelled):
        """uint8 [n, c, h, w], labels [n] -> views, labels.

        With "rotation", the views are all four turns of each image [4n], and the turns [4n] follow the labels. With
        "location", patches [n, l, c, tile, tile] follow the views, and the side of each pair's second patch [n * pairs]
        follows the labels.
        """
        images, labels = labelled
        upright = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0), flip=self.flip)
        if self.pretext == "rotation":
            turned = torch.cat([upright.rot90(turn, (2, 3)) for turn in range(TURNS)])
            turns = torch.arange(TURNS, device=labels.device).repeat_interleave(len(labels))
            return (turned,), (labels.repeat(TURNS), turns)
        if self.pretext == "location":
            patches = views.standardize(views.tiles(upright, self.rng, self.grid, self.tile).flatten(0, 1))
            return (upright, patches.unflatten(0, (len(labels), -1))), (labels, self.pairs[:, 2].repeat(len(labels)))
        return (upright,), (labels,)

    def predict(self, seen):
        """Return the scores of the classes, and those of the auxiliary task if there is one."""
        whole, *patches = seen
        features = self.encoder(whole)
        if self.pretext == "none":
            return (self.head(features),)
        asked = features
        if patches:
            parts = self.encoder(patches[0].flatten(0, 1)).unflatten(0, patches[0].shape[:2])
            asked = torch.cat([parts[:, self.pairs[:, 0]], parts[:, self.pairs[:, 1]]], 2).flatten(0, 1)
        return self.head(features), self.pretext_head(asked)

    def loss(self, predicted, withheld):
        """Cross-entropy of the classes plus `weight` times that of the auxiliary task: equation 1 of the paper."""
        (scores, *said), (labels, *true) = predicted, withheld
        terms = {"supervised": F.cross_entropy(scores, labels), "accuracy": accuracy(scores, labels)}
        for answers, asked in zip(said, true, strict=True):
            terms |= {"pretext": F.cross_entropy(answers, asked), "pretext_accuracy": accuracy(answers, asked)}
        trivial = torch.special.entr(self.shares).sum() + self.weight * self.trivial
        return {"loss": terms["supervised"] + self.weight * terms.get("pretext", 0.0), **terms, "trivial": trivial}

    def picture(self, seen, withheld, predicted=None):
        """Images, and their patches for "location"; their classes, and their turns for "rotation"."""
        (whole, *patches), (labels, *true) = seen, withheld
        turned = self.pretext == "rotation"
        columns = {"seen": whole, "label": self.captions(labels)}
        if patches:
            columns["patches"] = views.board(patches[0], self.grid)
        if turned:
            columns["true"] = [f"{90 * turn}°" for turn in true[0].tolist()]
        if predicted is not None:
            said = self.captions(predicted[0].float().softmax(1))
            turns = [f", {90 * turn}°" for turn in predicted[1].argmax(1).tolist()] if turned else [""] * len(said)
            columns["said"] = [name + turn for name, turn in zip(said, turns, strict=True)]
        return columns
