"""SwAV."""

import math

import torch
from torch import Tensor

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, Natural, Positive, accuracy, method, paired


@method(paper="Caron et al., NeurIPS 2020", needs={"images": "image"}, family="cluster")
class SwAV(Method):
    """Withholds which cluster a large crop of the image belongs to; predicts it from every other crop.

    Each cluster has a learned prototype. The shortcut would be to put all images into one cluster. Therefore a batch is
    divided as evenly as possible among the prototypes (the Sinkhorn algorithm). It may be small compared with their
    number, so it is divided together with earlier images from a queue, once the queue is full. The queue holds first
    crops and serves both crops, since both are made alike. Small crops, of half the size, are used for prediction only,
    never as targets. A learning rate warm-up replaces the paper's first epoch, in which prototypes are frozen. Unlike
    in the paper, the projector's output is normalised over the batch, so that more prototypes are used from the start.
    With several processes, all batches are divided together.

    Args:
        prototypes: number of prototypes.
        queue: number of earlier images that are divided together with a batch.
        local_views: number of small crops per image; by default 2 from 64 pixels on, else 0.
        temperature: temperature of the softmax over the prototypes.
        smoothness: smoothness of the division; with a higher value, an image can belong to several clusters.
        projection: length of the embeddings that are compared with the prototypes.
        hidden: width of the projector.
    """

    compares = True

    def __init__(
        self,
        encoder: ImageEncoder,
        prototypes: Count = 256,
        queue: Count = 1024,
        local_views: Natural | None = None,
        temperature: Positive = 0.1,
        smoothness: Positive = 0.05,
        projection: Count = 128,
        hidden: Count = 512,
    ):
        super().__init__(encoder)
        self.local_views = 2 * (encoder.size >= 64) if local_views is None else local_views
        self.temperature, self.smoothness = temperature, smoothness
        self.projector = nets.mlp((encoder.dim, hidden, projection), last_norm=True)
        self.prototypes = nets.Prototypes(projection, prototypes)
        self.queue = nets.Queue(queue, projection)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> large crops [2n, c, size, size], small ones; index of each first crop's partner."""
        size, jitter = self.encoder.size, (0.4, 0.4, 0.4, 0.1)
        seen = [views.distort(images.repeat(2, 1, 1, 1), self.rng, size=size, crop=(0.25, 1.0), jitter=jitter)]
        if self.local_views:
            again = images.repeat(self.local_views, 1, 1, 1)
            seen.append(views.distort(again, self.rng, size=size // 2, crop=(0.05, 0.25), jitter=jitter))
        return seen, torch.arange(len(images), device=images.device)

    def predict(self, seen):
        """Return the embeddings [v * n, projection], those of the large crops first."""
        return torch.cat([self.projector(self.encoder(crops)) for crops in seen])

    def loss(self, embedded, partners):
        n = len(partners)
        self.keep(embedded[:n])
        scores = self.prototypes(embedded).unflatten(0, (-1, n))
        codes = torch.stack([self.divide(large) for large in scores[:2].detach()])
        says = scores[:2].argmax(2)
        return {
            "loss": losses.swapped_cross_entropy(codes, scores / self.temperature),
            "accuracy": accuracy(scores[1], codes[0].argmax(1)),
            "trivial": math.log(scores.shape[2]),
            "used": (says.flatten().bincount(minlength=scores.shape[2]) > 0).float().mean(),
            "directions": losses.directions(embedded[: 2 * n]),
        }

    @torch.no_grad()
    def divide(self, scores):
        """Scores of this rank's images [n, k] -> shares of the prototypes [n, k], a code for each image."""
        n, everyone = len(scores), losses.gather(scores)
        if self.queue.full:
            everyone = torch.cat([everyone, self.prototypes(self.queue.keys)])
        return sinkhorn(everyone / self.smoothness)[n * losses.rank() :][:n]

    def after_step(self):
        self.queue.enqueue(*self.kept())

    def picture(self, seen, partners, embedded=None):
        pair = seen[0].chunk(2)
        n = len(partners)
        return paired(*pair, None if embedded is None else losses.nearest(embedded[:n], embedded[n : 2 * n]))


def sinkhorn(scores: Tensor, rounds: int = 3) -> Tensor:
    """Scores [n, k] -> probabilities [n, k] with row sums 1, and column sums that approach n / k with more rounds.

    Of all such matrices, the result maximises the sum of scores and entropies (Cuturi, NIPS 2013).
    """
    for _ in range(rounds):
        scores = scores.log_softmax(0).log_softmax(1)
    return scores.exp()
