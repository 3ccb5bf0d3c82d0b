"""Few-shot learning, boosted by self-supervision."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Classifier, ImageEncoder, NonNegative, Probability, accuracy, method

TURNS = 4
HIDDEN = 256


class CosineClassifier(nets.Prototypes):
    """Features [n, dim] -> scores [n, classes]: cosines with learned directions, times a scale that is learned too.

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
    """Withholds the label, and how an image was turned or where its patches lie; predicts both.

    What it learns is for classes that it never sees: `withhold evaluate RUN DATA --protocol episodes` names items of
    new classes by a few examples. Classes are told by cosines alone, so that features of one class point the same way,
    as a mean of examples needs. The second question keeps what the known classes would let go. A head of its own with a
    hidden layer answers it, so that features need not answer it by themselves (in the paper a residual block of the
    feature map). It is a question only where the data answer it: letters, cells and aerial photographs have no way up.
    The paper's unlabelled images, which the second question alone could learn from, are left out.

    Args:
        pretext: what is asked beside the class: the quarter turn ("rotation"; all four copies of an image teach its
            class too), on which side of a patch another one lies ("location"), or nothing ("none").
        weight: of that question's cross-entropy, beside 1 for the class.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        self.trivial = 0.0  # what the second question costs whoever looks at nothing
        if pretext == "rotation":
            self.trivial = math.log(TURNS)
            self.pretext_head = nets.mlp([encoder.dim, HIDDEN, TURNS])
        elif pretext == "location":
            self.grid, self.tile = views.tiling(encoder.size, None)
            self.register_buffer("pairs", views.neighbours(self.grid))
            self.trivial = torch.special.entr(self.pairs[:, 2].bincount() / len(self.pairs)).sum().item()
            self.pretext_head = nets.mlp([2 * encoder.dim, HIDDEN, len(views.SIDES)])

    def prepare(self, labelled):
        """Count the classes."""
        counts = torch.bincount(torch.as_tensor(labelled.labels), minlength=len(self.classes))
        self.shares.copy_(counts / counts.sum())

    def withhold(self, labelled):
        """uint8 [n, c, h, w], labels [n] -> views, labels.

        With "rotation" they are all four turns of each, [4n], and then the turns [4n]. With "location" there are also
        patches [n, l, c, tile, tile], and the side of each pair's second patch [n * pairs].
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
        """-> scores of the classes, and of the answers to the second question if there is one."""
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
        """Cross-entropy of the classes, and `weight` times that of the second question: equation 1 of the paper."""
        (scores, *said), (labels, *true) = predicted, withheld
        terms = {"supervised": F.cross_entropy(scores, labels), "accuracy": accuracy(scores, labels)}
        for answers, asked in zip(said, true, strict=True):
            terms |= {"pretext": F.cross_entropy(answers, asked), "pretext_accuracy": accuracy(answers, asked)}
        trivial = torch.special.entr(self.shares).sum() + self.weight * self.trivial
        return {"loss": terms["supervised"] + self.weight * terms.get("pretext", 0.0), **terms, "trivial": trivial}

    def picture(self, seen, withheld, predicted=None):
        """Images and their patches, if they are cut; their classes, and how they are turned, if they are."""
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
