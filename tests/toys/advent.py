"""ADVENT: masks in one domain, and confident predictions in another."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, answers, method

NOTHING = 255
"""The number of pixels that belong to no region, as in Pascal VOC."""


@method(paper="Vu et al., CVPR 2019 (ADVENT)", needs={"source": "image + mask", "target": "image"}, family="adapt")
class Advent(Method):
    """Withholds the mask of a source image; predicts it, and is as sure of target images as of these.

    A critic tells the two by how uncertain each pixel is.

    Args:
        regions: how many numbers a mask has.
        weight: of the critic's opinion of target images.
    """

    optimizer = {"segmenter": Optimizer(), "critic": Optimizer(lr=1e-4)}

    def __init__(self, encoder: ImageEncoder, regions: Count = 2, weight: NonNegative = 1e-3):
        super().__init__(encoder)
        self.regions, self.weight = regions, weight
        self.head = nn.Conv2d(encoder.dim, regions, 1)
        self.critic = nets.Discriminator(regions, encoder.size)

    def withhold(self, source, target):
        """Crops of both as images [n, c, size, size], the source's first; masks [n, size, size] follow theirs."""
        images, masks = source
        size = self.encoder.size
        seen, masks = views.augment(images, self.rng, size=size, crop=(0.5, 1.0), masks=masks)
        return torch.cat([seen, views.augment(target, self.rng, size=size, crop=(0.5, 1.0))]), masks

    def predict(self, seen):
        """Scores of the regions [n, regions, h, w]."""
        return F.interpolate(self.head(self.encoder.maps(seen)), seen.shape[-2:], mode="bilinear")

    def loss(self, scores, masks):
        scores = scores[: len(masks)]
        known = masks != NOTHING
        return {
            "loss": F.cross_entropy(scores, masks.long(), ignore_index=NOTHING),
            "accuracy": (scores.argmax(1) == masks)[known].float().mean(),
        }

    def players(self):
        return {"segmenter": [self.encoder, self.head], "critic": [self.critic]}

    def turn(self, player, batch, handed):
        if player == "critic":
            of_source, of_target = (self.critic(part) for part in handed["surprise"])
            return {"loss": losses.discriminator_loss(of_source, of_target), "trivial": math.log(4)}
        seen, masks = self.hide(batch)
        scores = self.predict(seen)
        surprise = -scores.softmax(1) * scores.log_softmax(1)
        of_source, of_target = surprise.split([len(masks), len(seen) - len(masks)])
        handed["surprise"] = of_source.detach(), of_target.detach()
        terms = self.score(scores, masks)
        fooling = losses.generator_loss(self.critic(of_target))
        return terms | {"loss": terms["loss"] + self.weight * fooling, "fooling": fooling}

    def apply_to(self, image):
        """An image -> the "mask" of the square in its middle."""
        return {"mask": answers.Mask(self.predict(self.encoder.take(image)).argmax(1)[0])}

    def picture(self, seen, masks, scores=None):
        columns = {"seen": seen[: len(masks)], "true": self.draw(masks), "target": seen[len(masks) :]}
        if scores is not None:
            regions = self.draw(scores.argmax(1))
            columns |= {"said": regions[: len(masks)], "said of target": regions[len(masks) :]}
        return columns

    def draw(self, masks):
        return masks[:, None].clamp(max=self.regions - 1) / max(1, self.regions - 1)
