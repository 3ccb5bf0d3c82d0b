"""JiGen: domain generalisation by jigsaw puzzles."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import Classifier, Fraction, ImageEncoder, NonNegative, Probability, Several, accuracy, method

JITTER = (0.4, 0.4, 0.4, 0.1)
"""How far brightness, contrast, saturation and hue of an image stray."""
GREY = 0.1
"""The share of tiles that lose their colour."""


@method(
    paper="Carlucci, D'Innocente, Bucci, Caputo & Tommasi, CVPR 2019",
    needs={"images": "image + label + domain"},
    family="adapt",
)
class JiGen(Classifier):
    """Withholds the classes of several domains, and the order of some images' tiles; predicts both.

    Where parts belong does not depend on how a domain draws them, so features that tell it too fit a domain that was
    never seen. Domains are several sources; their images are pooled, and "worst_domain" is the accuracy in the one
    that is named worst.

    Most images of a batch are whole, and teach their class. The tiles of the others are shuffled and put together to an
    image of the same size, which teaches its order alone. What would give the order away without a look at the content
    is taken from them: edges that continue (every tile is a random square of its cell, scaled), and colour fringes of
    the lens (some tiles are grey, and colours of images stray).

    Args:
        weight: of the orders' cross-entropy, beside 1 for the classes'; at 0 no image is shuffled: the control that
            learns from all domains alike.
        shuffled: share of the images that are shuffled; at least one image of a batch is, and one is not.
        orders: how many orders to tell apart, chosen to differ in as many places as can be; all where there are fewer.
        grid: tiles along each side, 2 or 3; where none is given, 2 below 64 pixels and 3 from there on.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    orders: Tensor

    def __init__(
        self, encoder: ImageEncoder, classes: Sequence[str], weight: NonNegative = 0.7, shuffled: Fraction = 0.1,
        orders: Several = 30, grid: Literal[2, 3] | None = None, flip: Probability = 0.5,
    ):  # fmt: skip
        super().__init__(encoder, classes)
        self.weight, self.shuffled, self.flip = weight, shuffled, flip
        self.grid, _ = views.tiling(encoder.size, grid)
        self.register_buffer("orders", views.distant_orders(self.grid**2, orders))
        self.puzzle = nn.Linear(encoder.dim, len(self.orders))

    def withhold(self, images):
        """uint8 [n, c, h, w], labels and domains [n] -> float [n, c, size, size], the first m of them shuffled.

        Withheld are their orders [m], and the labels and domains [n - m] of the others.
        """
        images, labels, domains = images
        n = len(images)
        m = min(math.ceil(self.shuffled * n), n - 1) if self.weight else 0
        size = self.encoder.size
        whole = views.augment(images, self.rng, size=size, crop=(0.8, 1.0), flip=self.flip, jitter=JITTER)
        order = torch.randint(len(self.orders), (m,), generator=self.rng, device=labels.device)
        return torch.cat([self.shuffle(whole[:m], order), whole[m:]]), (order, labels[m:], domains[m:])

    def shuffle(self, images: Tensor, order: Tensor) -> Tensor:
        """Images float [m, c, size, size] and orders [m] -> with the tile of cell `orders[o, i]` in place i.

        What is over of a size that is no multiple of the grid repeats the last row and column.
        """
        cell, count, size = images.shape[-1] // self.grid, self.grid**2, images.shape[-1]
        tiles = views.tiles(images, self.rng, self.grid, cell).flatten(0, 1)
        tiles = views.augment(tiles, self.rng, size=cell, crop=(0.6, 0.8), aspect=(1, 1), flip=0, grey=GREY)
        moved = tiles.unflatten(0, (-1, count)).take_along_dim(self.orders[order][:, :, None, None, None], 1)
        laid = views.unpatch(moved.flatten(2), images.shape[1], (self.grid * cell, self.grid * cell))
        rest = size - self.grid * cell
        return F.pad(laid, (0, rest, 0, rest), mode="replicate")

    def predict(self, seen):
        """Scores of the classes [n, k], and of the orders [n, p]."""
        features = self.encoder(seen)
        return self.head(features), self.puzzle(features)

    def loss(self, predicted, withheld):
        """Cross-entropies: of the orders of the m that are shuffled, and of the classes of the others."""
        (order, labels, domains), (named, laid) = withheld, predicted
        m = len(order)
        named, laid = named[m:], laid[:m]
        classes = F.cross_entropy(named, labels)
        puzzle = F.cross_entropy(laid, order, reduction="sum") / max(1, m)
        right = (named.argmax(1) == labels).float()
        counts = domains.bincount()
        found = domains.bincount(right, len(counts)) / counts  # not a number, where a batch has none of a domain
        return {
            "loss": classes + self.weight * puzzle,
            "classes": classes,
            "puzzle": puzzle,
            "accuracy": right.mean(),
            "worst_domain": found.nan_to_num(1).amin(),
            "puzzle_accuracy": accuracy(laid, order).nan_to_num(),
            "trivial": math.log(len(self.classes)) + self.weight * math.log(len(self.orders)),
        }

    def picture(self, seen, withheld, predicted=None):
        order, labels, _ = withheld
        columns = {"seen": seen, "true": self.named(order, labels)}
        if predicted is not None:
            named, laid = (scores.argmax(1) for scores in predicted)
            columns["said"] = self.named(laid[: len(order)], named[len(order) :])
        return columns

    def named(self, order: Tensor, labels: Tensor) -> list[str]:
        """Orders [m] and classes [n - m] in words."""
        return [f"order {number}" for number in order.tolist()] + self.captions(labels)
