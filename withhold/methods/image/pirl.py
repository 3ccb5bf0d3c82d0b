"""PIRL: pretext-invariant representations."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, ImageEncoder, Method, Positive, Probability, accuracy, method


@method(paper="Misra & van der Maaten, CVPR 2020", needs={"images": "image + number"}, family="contrast")
class PIRL(Method):
    """Withholds which image a pile of shuffled tiles is from; predicts it among what it remembers of all images.

    A jigsaw puzzle asks for the order of the tiles, so that features must keep it. Here they must not: the tiles in any
    order, and the whole image, are to be found by the same memory, a slow average of the whole image's embeddings. A
    colour histogram would find it too: views are jittered, and some are grey. Embeddings are normalised over the batch,
    so that a drift of their mean does not tell new memories from old ones. The paper tells the right memory from each
    wrong one by logistic regression; here one softmax tells it from all (the other option of the authors' code).

    Args:
        grid: tiles along each side, 2 or 3; where none is given, 2 below 64 pixels and 3 from there on.
        weight: of the loss of the tiles; that of the whole images has the rest, which keeps the memory from drifting.
        negatives: how many memories of other images are drawn in a step, beside those of the batch.
        momentum: share of itself that a memory keeps when its image comes.
        temperature: of the softmax over similarities; a lower one dwells on the hardest negatives.
        projection: length of embeddings and memories.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        grid: Literal[2, 3] | None = None,
        weight: Probability = 0.5,
        negatives: Count = 4096,
        momentum: Probability = 0.5,
        temperature: Positive = 0.1,
        projection: Count = 128,
    ):
        super().__init__(encoder)
        self.grid, self.tile = views.tiling(encoder.size, grid)
        self.weight, self.negatives, self.temperature = weight, negatives, temperature
        self.whole = nets.mlp((encoder.dim, projection), last_norm=True)
        self.part = nn.Linear(encoder.dim, projection)
        self.pile = nets.mlp((self.grid**2 * projection, projection), last_norm=True)
        self.memory = nets.MemoryBank(0, projection, momentum)
        self.fresh: list[tuple[Tensor, Tensor]] = []  # this step's numbers and embeddings, which `after_step` remembers

    def prepare(self, images):
        """Remember of every image what the network makes of it at first.

        If memories began at random, an image would be unlike its own, and like those of similar images that have come
        before it in the first epoch: it would learn to avoid them.
        """
        device, network = next(self.parameters()).device, nn.Sequential(self.encoder, self.whole)
        nets.refresh_statistics(network, nets.batches(images, self.some(len(images), 2048), device))
        embedded = F.normalize(nets.rows(network, network, images, device), dim=1)
        self.memory.features.resize_(embedded.shape).copy_(embedded)

    def withhold(self, images):
        """Images uint8 [n, c, h, w] and their numbers [n] -> views and tiles of others; whose memories to tell apart.

        Views are float [n, c, size, size], tiles [n, l, c, tile, tile] in random order. Of the numbers [n + m] the
        first n are those of the images.
        """
        images, numbers = images
        tiles = views.tiles(self.view(images, 0.6), self.rng, self.grid, self.tile)
        n, count = tiles.shape[:2]
        order = torch.rand(n, count, generator=self.rng, device=tiles.device).argsort(1)
        tiles = tiles[torch.arange(n, device=tiles.device)[:, None], order]
        drawn = torch.randperm(len(self.memory.features), generator=self.rng, device=numbers.device)
        others = drawn[~torch.isin(drawn, numbers)][: self.negatives]
        return (self.view(images, 0.2), tiles), torch.cat([numbers, others])

    def view(self, images, least):
        """uint8 [n, c, h, w] -> a crop of each of `least` of its area or more, in other colours."""
        return views.augment(
            images, self.rng, size=self.encoder.size, crop=(least, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grey=0.2
        )

    def predict(self, visible):
        """Embeddings of the whole images, and of the piles of tiles, [n, projection] both."""
        whole, tiles = visible
        parts = self.part(self.encoder(tiles.flatten(0, 1))).unflatten(0, tiles.shape[:2])
        return self.whole(self.encoder(whole)), self.pile(parts.flatten(1))

    def loss(self, embedded, numbers):
        """The two cross-entropies of finding an image's memory, weighed (equation 5 of the paper)."""
        whole, pile = embedded
        own = torch.arange(len(whole), device=whole.device)
        if self.training:
            self.fresh.append((numbers[: len(whole)], whole.detach()))
        scores = [self.similarities(each, numbers) / self.temperature for each in (whole, pile)]
        of_whole, of_pile = (F.cross_entropy(each, own) for each in scores)
        return {
            "loss": self.weight * of_pile + (1 - self.weight) * of_whole,
            "whole": of_whole,
            "tiles": of_pile,
            "accuracy": accuracy(scores[1], own),
            "trivial": math.log(len(numbers)),
        }

    def similarities(self, embedded, numbers):
        """The cosine of embeddings [n, d] and the memories of the images `numbers` [m]: [n, m]."""
        return F.normalize(embedded.float(), dim=1) @ self.memory.features[numbers].T

    def after_step(self):
        for numbers, embedded in self.fresh:
            self.memory.update(numbers, embedded)
        self.fresh.clear()

    def picture(self, visible, numbers, embedded=None):
        """The image of the batch that the tiles are taken for, as their other view shows it."""
        whole, tiles = visible
        columns = {"seen": views.board(tiles, self.grid), "true": whole}
        if embedded is not None:
            columns["said"] = whole[self.similarities(embedded[1], numbers[: len(whole)]).argmax(1)]
        return columns
