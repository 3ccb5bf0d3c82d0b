"""PIRL: pretext-invariant representations."""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from withhold import nets, views
from withhold.methods import Count, ImageEncoder, Method, Positive, Probability, accuracy, method


@method(paper="Misra & van der Maaten, CVPR 2020", needs={"images": "image + number"}, family="contrast")
class PIRL(Method):
    """Withholds which image a set of shuffled tiles is from; predicts it among the stored embeddings of all images.

    In a jigsaw puzzle, features must keep the position of each tile. Here they must ignore it: the tiles in any order,
    and the whole image, must match the same memory, a moving average of the whole image's embeddings. A colour
    histogram would match it too, so views have colour jitter and some are grey. Embeddings are normalised over the
    batch, so that a drift of their mean does not distinguish new memories from old ones. The paper compares the correct
    memory with each wrong one by logistic regression; here one softmax compares it with all (the other option of the
    authors' code).

    Args:
        grid: tiles along each side, 2 or 3; by default 2 below 64 pixels, else 3.
        weight: weight of the loss of the tiles; that of the whole images has 1 minus this weight, and keeps the memory
            from drifting.
        negatives: number of memories of other images drawn in a step, in addition to those of the batch.
        momentum: share of itself that a memory keeps when its image is seen.
        temperature: temperature of the softmax over similarities; a lower one emphasises hard negatives.
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

    def prepare(self, images):
        """Initialise the memory with the initial network's embedding of every image.

        With random memories, an image would differ from its own memory, and would match those of similar images seen
        earlier in the first epoch: the network would learn to push it away from them.
        """
        device, network = next(self.parameters()).device, nn.Sequential(self.encoder, self.whole)
        nets.refresh_statistics(network, nets.batches(images, self.some(len(images), 2048), device))
        embedded = F.normalize(nets.rows(network, network, images, device), dim=1)
        self.memory.features.resize_(embedded.shape).copy_(embedded)

    def withhold(self, images):
        """Images uint8 [n, c, h, w], their numbers [n] -> views of them, and tiles of other views; numbers of memories.

        Views are float [n, c, size, size], tiles [n, l, c, tile, tile] in random order. Of the memories' numbers [n +
        m], the first n are those of the images.
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
        """uint8 [n, c, h, w] -> a crop of at least the share `least` of each image's area, with colour jitter."""
        return views.augment(
            images, self.rng, size=self.encoder.size, crop=(least, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grey=0.2
        )

    def predict(self, visible):
        """Return the embeddings of the whole images and of the sets of tiles, [n, projection] each."""
        whole, tiles = visible
        parts = self.part(self.encoder(tiles.flatten(0, 1))).unflatten(0, tiles.shape[:2])
        return self.whole(self.encoder(whole)), self.pile(parts.flatten(1))

    def loss(self, embedded, numbers):
        """The weighted sum of the two cross-entropies of finding an image's memory (equation 5 of the paper)."""
        whole, pile = embedded
        own = torch.arange(len(whole), device=whole.device)
        self.keep(numbers[: len(whole)], whole)
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
        """The cosines of embeddings [n, d] and the memories of the images `numbers` [m]: [n, m]."""
        return F.normalize(embedded.float(), dim=1) @ self.memory.features[numbers].T

    def after_step(self):
        self.memory.update(*self.kept())

    def picture(self, visible, numbers, embedded=None):
        """The tiles, the image in another view, and the image of the batch whose memory the tiles match best."""
        whole, tiles = visible
        columns = {"seen": views.board(tiles, self.grid), "true": whole}
        if embedded is not None:
            columns["said"] = whole[self.similarities(embedded[1], numbers[: len(whole)]).argmax(1)]
        return columns
