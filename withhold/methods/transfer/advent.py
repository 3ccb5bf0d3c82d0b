"""ADVENT: masks in one domain, and as sure ones in another."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from withhold import losses, nets
from withhold.errors import UsageError
from withhold.methods import ImageEncoder, NonNegative, Optimizer, Probability, Segmenter, method

INNER_LABELS, INNER_TARGET = 0.1, 0.2
"""What the inner head counts beside the last one: where there are masks, and of `weight` where there are none."""


@method(
    paper="Vu, Jain, Bucher, Cord & Perez, CVPR 2019",
    needs={"source": "image + mask", "target": "image"},
    family="adapt",
)
class Advent(Segmenter):
    """Withholds the masks of the source; predicts them, and is as sure of the pixels of the target.

    Where a network has masks to learn from, it is sure of most pixels but those at borders; in another domain it doubts
    everywhere. MinEnt lowers the entropy of each pixel of the target. AdvEnt lets a critic tell the domains by maps of
    what each class adds to the entropy, and fools it, so that doubt also gets the source's arrangement in space.

    Being sure is also being sure of the commonest class everywhere. Then "target_classes" falls, the number of classes
    that are in effect named in the target: `weight` is too large. Keep it small, and choose it without target masks, or
    say that you had some.

    The critic is not normalised: with statistics of their own, the maps of two domains would look alike to it.

    Args:
        mode: "advent", with a critic, or "minent".
        weight: of the target's entropy, or of the critic's opinion; 0 is the control that learns from the source only,
            and to which nothing of the target is shown.
        inner: whether a second head, which does not see the coarsest map, and its own critic learn too.
        flip: probability that a view is a mirror image.
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
                    "advent: the encoder's stages have one resolution: there is no inner map; leave inner out."
                )
            self.inner = nets.Pyramid(encoder, len(self.classes), depth=-1)
        self.critics = nn.ModuleList()
        if mode == "advent" and weight:
            for _ in range(1 + inner):
                self.critics.append(nets.Discriminator(len(self.classes), encoder.size, norm=lambda _: nn.Identity()))
            slow = Optimizer(lr=4e-4, weight_decay=0.0, betas=(0.9, 0.99))  # 0.0001 for 16 images
            self.optimizer = {"segmenter": Optimizer(lr=4e-3), "critic": slow}

    def players(self):
        if not self.critics:
            return super().players()
        heads = [self.head] if self.inner is None else [self.head, self.inner]
        return {"segmenter": [self.encoder, *heads], "critic": [self.critics]}

    def hide(self, batch):
        return super().hide(batch if self.weight else batch | {"target": batch["target"][:0]})

    def withhold(self, source, target):
        """Views of both domains, the source's first, float [n + m, c, size, size]; the source's masks."""
        images, masks = source
        seen, masks = self.view(images, masks=masks)
        return torch.cat([seen, self.view(target)]), masks

    def predict(self, seen):
        """Scores of the classes [n + m, k, h, w]: the head's, and where there is one the inner head's."""
        maps = nets.stage_maps(self.encoder, seen)
        said = [self.head(maps, seen.shape[2:])]
        return said if self.inner is None else [*said, self.inner(maps[:-1], seen.shape[2:])]

    def loss(self, said, masks):
        """The cross-entropy of the source; of MinEnt also `weight` times the entropy of the target, in [0, 1]."""
        n = len(masks)
        terms = self.terms(said[0][:n], masks)
        for scores in said[1:]:
            terms["loss"] = terms["loss"] + INNER_LABELS * self.terms(scores[:n], masks)["loss"]
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
            told = [losses.discriminator_loss(*map(critic, maps)) for critic, maps in pairs]
            return {"loss": sum(told), "trivial": math.log(4) * len(told)}
        seen, masks = self.hide(batch)
        said = self.predict(seen)
        terms = self.score(said, masks)
        maps = [self.information(scores).tensor_split([len(masks)]) for scores in said]
        handed["maps"] = [(source.detach(), target.detach()) for source, target in maps]
        fooling = [
            losses.generator_loss(critic(target)) for critic, (_, target) in zip(self.critics, maps, strict=True)
        ]
        return terms | {"loss": terms["loss"] + self.adapting(fooling), "fooling": fooling[0]}

    def adapting(self, costs):
        """What the target costs by each head, weighted."""
        return self.weight * sum(share * cost for share, cost in zip((1.0, INNER_TARGET), costs, strict=False))

    def information(self, scores):
        """What each class adds to the entropy of a pixel [n, k, h, w], which is 1 at most."""
        return losses.self_information(scores) / math.log(len(self.classes))

    def finish(self, plain):
        """The control keeps the statistics of the source: those of both domains would adapt it."""
        if self.weight:
            super().finish(plain)

    def picture(self, seen, masks, said=None):
        """The entropy is white where the network knows nothing."""
        n = len(masks)
        columns = {"seen": seen[:n], "true": self.draw(masks, seen)}
        parts = {"": slice(n)} | ({" of target": slice(n, 2 * n)} if len(seen) > n else {})
        for name, part in parts.items() if said is not None else ():
            columns[f"said{name}"] = self.draw(said[0][part].argmax(1), seen)
            columns[f"entropy{name}"] = self.information(said[0][part].float()).sum(1, keepdim=True).clamp(0, 1)
        return columns | ({"target": seen[n : 2 * n]} if len(seen) > n else {})
