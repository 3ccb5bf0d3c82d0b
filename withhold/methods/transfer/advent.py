"""ADVENT: unsupervised domain adaptation for segmentation by entropy minimisation."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from withhold import losses, nets
from withhold.errors import UsageError
from withhold.methods import ImageEncoder, NonNegative, Optimizer, Probability, Segmenter, method

INNER_LABELS, INNER_TARGET = 0.1, 0.2
"""Weights of the inner head relative to the last one: for the source, and for the target as a share of `weight`."""


WIDTHS = (64, 128, 256, 512)
"""Channels of the critic's hidden layers."""


def critic(classes: int, size: int) -> nn.Sequential:
    """Maps [n, classes, size, size] -> logits [n, 1, size / 32, size / 32], high for the source; one below 32 pixels.

    Each logit judges a region. A single logit for the whole map would let the critic recognise a few training images.
    """
    widths = (classes, *WIDTHS[: int(math.log2(size)) - 1])
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, stride=2, padding=1))


@method(
    paper="Vu, Jain, Bucher, Cord & Perez, CVPR 2019",
    needs={"source": "image + mask", "target": "image"},
    family="adapt",
)
class Advent(Segmenter):
    """Withholds the masks of the source; predicts them, and is trained to be as confident in the target.

    A network trained on masks of one domain is confident in most pixels except at borders; in another domain it is
    uncertain everywhere. MinEnt lowers the entropy of each pixel of the target. AdvEnt trains a critic to distinguish
    the domains by maps of each class's contribution to the entropy, and the segmenter to fool it, so that the spatial
    distribution of the entropy also becomes that of the source.

    Predicting the most frequent class everywhere is confident, too. "target_classes", the effective number of predicted
    classes in the target, falls in that case: `weight` is too large. Keep it small. Choose it without target masks, or
    report that you used some.

    The critic has no normalisation, because per-batch statistics would make the maps of both domains look alike.

    Args:
        mode: "advent", with a critic, or "minent".
        weight: weight of the target's entropy, or of the adversarial loss; 0 is the control, which learns from the
            source only and never sees the target.
        inner: whether to train a second head, which does not use the coarsest map, with its own critic.
        flip: probability of a horizontal flip.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        mode: Literal["advent", "minent"] = "advent",
        weight: NonNegative = 1e-3,
        inner: bool = False,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, flip)
        self.mode, self.weight = mode, weight
        self.inner = None
        if inner:
            if len(self.head.project) == 1:
                raise UsageError(
                    "advent: all the encoder's stages have one resolution, so there is no inner map. Leave out inner."
                )
            self.inner = nets.Pyramid(encoder, len(self.classes), depth=-1)
        self.critics = nn.ModuleList()
        if mode == "advent" and weight:
            for _ in range(1 + inner):
                self.critics.append(critic(len(self.classes), encoder.size))
            slow = Optimizer(lr=4e-4, weight_decay=0.0, betas=(0.9, 0.99))  # 0.0001 for 16 images
            self.optimizer = {"segmenter": Optimizer(lr=4e-3), "critic": slow}

    def players(self):
        if not self.critics:
            return super().players()
        heads = [self.head] if self.inner is None else [self.head, self.inner]
        return {"segmenter": [self.encoder, *heads], "critic": [self.critics]}

    @property
    def ignored(self):
        return () if self.weight else ("target",)

    def withhold(self, source, target):
        """Views of both domains, the source's first, float [n + m, c, size, size]; the source's masks."""
        images, masks = source
        seen, masks = self.view(images, masks=masks)
        return torch.cat([seen, self.view(target)]), masks

    def predict(self, seen):
        """Class scores [n + m, k, h, w] of the head, and of the inner head if there is one."""
        maps = nets.stage_maps(self.encoder, seen)
        said = [self.head(maps, seen.shape[2:])]
        return said if self.inner is None else [*said, self.inner(maps[:-1], seen.shape[2:])]

    def loss(self, said, masks):
        """The cross-entropy of the source; for MinEnt plus `weight` times the entropy of the target, in [0, 1]."""
        n = len(masks)
        terms = self.terms(said[0][:n], masks)
        for scores in said[1:]:
            inner = self.terms(scores[:n], masks)
            terms |= {name: terms[name] + INNER_LABELS * inner[name] for name in ("loss", "trivial")}
        if self.weight:
            doubts = [self.information(scores[n:]).sum(1).mean() for scores in said]
            answers = said[0][n:].detach().softmax(1).mean((0, 2, 3))
            terms |= {"doubt": doubts[0], "target_classes": torch.special.entr(answers).sum().exp()}
            if self.mode == "minent":
                terms["loss"] = terms["loss"] + self.adapting(doubts)
        return terms

    def turn(self, player, batch, handed):
        if not self.critics:
            return super().turn(player, batch, handed)
        if player == "critic":
            pairs = zip(self.critics, handed["maps"], strict=True)
            told = [losses.discriminator_loss(*map(judge, maps)) for judge, maps in pairs]
            return {"loss": sum(told), "trivial": math.log(4) * len(told)}
        seen, masks = self.hide(batch)
        said = self.predict(seen)
        terms = self.score(said, masks)
        maps = [self.information(scores).tensor_split([len(masks)]) for scores in said]
        handed["maps"] = [(source.detach(), target.detach()) for source, target in maps]
        fooling = [losses.generator_loss(judge(target)) for judge, (_, target) in zip(self.critics, maps, strict=True)]
        return terms | {"loss": terms["loss"] + self.adapting(fooling), "fooling": fooling[0]}

    def adapting(self, costs):
        """The weighted sum of the target's costs over the heads."""
        return self.weight * sum(share * cost for share, cost in zip((1.0, INNER_TARGET), costs, strict=False))

    def information(self, scores):
        """The contribution of each class to the entropy of a pixel [n, k, h, w]; their sum is at most 1."""
        return losses.self_information(scores) / math.log(len(self.classes))

    def picture(self, seen, masks, said=None):
        """Masks and entropy maps, which are white at maximum entropy."""
        n = len(masks)
        columns = {"seen": seen[:n], "true": self.draw(masks, seen)}
        parts = {"": slice(n)} | ({" of target": slice(n, 2 * n)} if len(seen) > n else {})
        for name, part in parts.items() if said is not None else ():
            columns[f"said{name}"] = self.draw(said[0][part].argmax(1), seen)
            columns[f"entropy{name}"] = self.information(said[0][part].float()).sum(1, keepdim=True).clamp(0, 1)
        return columns | ({"target": seen[n : 2 * n]} if len(seen) > n else {})
