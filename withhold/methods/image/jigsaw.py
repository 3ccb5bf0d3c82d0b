"""Jigsaw puzzles."""

import math
from typing import Literal

import torch
from torch.nn import functional as F

from withhold import views
from withhold.methods import ImageEncoder, Method, Probability, Several, accuracy, method
from withhold.nets import mlp

PUZZLES = 4


@method(paper="Noroozi & Favaro, ECCV 2016", needs={"images": "image"}, family="verify")
class Jigsaw(Method):
    """Withholds the order of an image's tiles; predicts it from the tiles, shuffled.

    The encoder sees the tiles one by one. Shortcuts that do not require the content are removed: continuing edges (by
    gaps of random width), brightness and contrast (every tile is standardised), chromatic aberration (by grey images).
    Each image gives four puzzles, and the encoder sees its tiles only once.

    Args:
        grid: tiles along each side, 2 or 3; by default 2 below 64 pixels, else 3.
        orders: number of orders, chosen to differ in as many places as possible; at most all orders.
        grey: share of the images that lose their colour, in [0, 1].
    """

    def __init__(
        self, encoder: ImageEncoder, grid: Literal[2, 3] | None = None, orders: Several = 100, grey: Probability = 0.5
    ):
        super().__init__(encoder)
        self.grid, self.tile = views.tiling(encoder.size, grid)
        self.grey = grey
        chosen = views.distant_orders(self.grid**2, orders).clone()
        self.register_buffer("orders", chosen)
        self.head = mlp([self.grid**2 * encoder.dim, 512, len(chosen)])

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (tiles [n, l, c, tile, tile], puzzles [n, k, l]), index of each puzzle's order [n * k].

        The tiles are shuffled, and each puzzle permutes them again so that the result is one of the orders: order o has
        the tile of cell `orders[o, i]` in place i.
        """
        whole = views.augment(images, self.rng, size=self.encoder.size, crop=(0.6, 1.0), grey=self.grey)
        tiles = views.tiles(whole, self.rng, self.grid, self.tile)
        n, count = tiles.shape[:2]
        cells = torch.rand(n, count, generator=self.rng, device=tiles.device).argsort(1)
        order = torch.randint(len(self.orders), (n, PUZZLES), generator=self.rng, device=tiles.device)
        puzzles = cells.argsort(1)[:, None].expand(-1, PUZZLES, -1).gather(2, self.orders[order])
        shuffled = views.standardize(pick(tiles, cells).flatten(0, 1)).unflatten(0, (n, count))
        return (shuffled, puzzles), order.flatten()

    def predict(self, visible):
        tiles, puzzles = visible
        features = self.encoder(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2])
        return self.head(pick(features, puzzles).flatten(2).flatten(0, 1))

    def loss(self, scores, order):
        return {
            "loss": F.cross_entropy(scores, order),
            "accuracy": accuracy(scores, order),
            "trivial": math.log(len(self.orders)),
        }

    def picture(self, visible, order, scores=None):
        """One puzzle per image: shuffled, and put back in order."""
        tiles = pick(visible[0], visible[1][:, 0])
        columns = {"seen": views.board(tiles, self.grid), "true": self.solve(tiles, order[::PUZZLES])}
        if scores is not None:
            columns["said"] = self.solve(tiles, scores[::PUZZLES].argmax(1))
        return columns

    def solve(self, tiles, order):
        """Put the tiles back in the cells that `order` gives."""
        return views.board(pick(tiles, self.orders[order].argsort(1)), self.grid)


def pick(parts, places):
    """From each sample's `parts` [n, l, ...], select those at `places` [n, ...] -> [n, ..., ...]."""
    sample = torch.arange(len(parts), device=parts.device)
    return parts[sample.view(-1, *[1] * (places.ndim - 1)), places]
