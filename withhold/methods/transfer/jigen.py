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
"""Strength of the jitter of brightness, contrast, saturation and hue."""
GREY = 0.1
"""Share of the tiles that lose their colour."""


@method(
    paper="Carlucci, D'Innocente, Bucci, Caputo & Tommasi, CVPR 2019",
    needs={"images": "image + label + domain"},
    family="adapt",
)
class JiGen(Classifier):
    """Withholds the classes of several domains, and the order of some images' tiles; predicts both.

    The position of parts does not depend on the style of a domain, so features that also predict it suit a domain not
    seen in training. Domains are several sources. Their images are pooled, and "worst_domain" is the lowest accuracy of
    a domain.

    Most images of a batch are whole and train their class. The tiles of the others are shuffled and put together to an
    image of the same size, which trains its order only; an order of 0 leaves the tiles in place. Shortcuts that do not
    require the content are removed: continuing edges (every tile is a random square of its cell, resized), and
    chromatic aberration (some tiles are grey, and images have colour jitter). For the same reason whole images do not
    train the order 0, as they do in the paper: they have no seams.

    Args:
        weight: weight of the cross-entropy of orders, summed over the shuffled images and divided by the number of all
            images, relative to 1 for the classes; with 0 no image is shuffled: the control, which learns classes from
            all domains pooled.
        shuffled: share of the images that are shuffled; at least one image of a batch is shuffled, and at least one is
            not.
        orders: number of orders of shuffled tiles, chosen to differ in as many places as possible; at most all orders.
        grid: tiles along each side, 2 or 3; by default 2 below 64 pixels, else 3.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    orders: Tensor

    def __init__(
        self, encoder: ImageEncoder, classes: Sequence[str], weight: NonNegative = 0.7, shuffled: Fraction = 0.1,
        orders: Several = 30, grid: Literal[2, 3] | None = None, flip: Probability = 0.5,
    ):  # fmt: skip
        super().__init__(encoder, classes)
        self.weight, self.shuffled, self.flip = weight, shuffled, flip
        self.grid, _ = views.tiling(encoder.size, grid)
        self.register_buffer("orders", views.distant_orders(self.grid**2, orders + 1).clone())
        self.puzzle = nn.Linear(encoder.dim, len(self.orders))

    def withhold(self, images):
        """uint8 [n, c, h, w], labels and domains [n] -> float [n, c, size, size], the first m of them shuffled.

        The targets are the orders [m] of these, and the labels and domains [n - m] of the others.
        """
        images, labels, domains = images
        n = len(images)
        m = min(math.ceil(self.shuffled * n), n - 1) if self.weight else 0
        size = self.encoder.size
        whole = views.augment(images, self.rng, size=size, crop=(0.8, 1.0), flip=self.flip, jitter=JITTER)
        order = torch.randint(len(self.orders), (m,), generator=self.rng, device=labels.device)
        return torch.cat([self.shuffle(whole[:m], order), whole[m:]]), (order, labels[m:], domains[m:])

    def shuffle(self, images: Tensor, order: Tensor) -> Tensor:
        """Shuffle images float [m, c, size, size] by orders [m]: the tile of cell `orders[o, i]` moves to place i.

        If the size is not a multiple of the grid, the last row and column are repeated.
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
        """The cross-entropy of the orders of the m shuffled images, and of the classes of the others."""
        (order, labels, domains), (named, laid) = withheld, predicted
        m, n = len(order), len(laid)
        named, laid = named[m:], laid[:m]
        classes = F.cross_entropy(named, labels)
        puzzle = F.cross_entropy(laid, order, reduction="sum") / n
        right = (named.argmax(1) == labels).float()
        counts = domains.bincount()
        found = domains.bincount(right, len(counts)) / counts  # NaN if a batch has no image of a domain
        return {
            "loss": classes + self.weight * puzzle,
            "classes": classes,
            "puzzle": puzzle,
            "accuracy": right.mean(),
            "worst_domain": found.nan_to_num(1).amin(),
            "puzzle_accuracy": accuracy(laid, order).nan_to_num(),
            "trivial": math.log(len(self.classes)) + self.weight * m / n * math.log(len(self.orders)),
        }

    def picture(self, seen, withheld, predicted=None):
        order, labels, _ = withheld
        columns = {"seen": seen, "true": self.named(order, labels)}
        if predicted is not None:
            named, laid = (scores.argmax(1) for scores in predicted)
            columns["said"] = self.named(laid[: len(order)], named[len(order) :])
        return columns

    def named(self, order: Tensor, labels: Tensor) -> list[str]:
        """Captions of orders [m] and classes [n - m]."""
        return [f"order {number}" for number in order.tolist()] + self.captions(labels)
