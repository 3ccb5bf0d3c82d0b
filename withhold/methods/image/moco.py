"""MoCo, version 2."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, Positive, Share, method, paired


@method(paper="He et al., CVPR 2020; version 2: Chen et al., 2020", needs={"images": "image"}, family="contrast")
class MoCo(Method):
    """Withholds a slow teacher's embedding (key) of another view; predicts it among the keys of earlier images.

    Batch statistics would distinguish the keys of the current batch from those in the queue, which come from other
    batches. Queries and keys are therefore normalised within parts of the batch, and the keys are shuffled among the
    parts, as the paper shuffles them among GPUs.

    Args:
        queue: number of earlier keys used as negatives; with more than there are images, an image's own key is among
            them.
        momentum: share of itself that the teacher keeps in a step; 0.999 suits runs of 100,000 steps and more.
        temperature: temperature of the softmax over similarities; a lower one emphasises hard negatives.
        parts: number of parts of a batch that are normalised separately; reduced so that each has eight images.
        projection: length of queries and keys.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        queue: Count = 4096,
        momentum: Share = 0.99,
        temperature: Positive = 0.2,
        parts: Count = 8,
        projection: Count = 128,
    ):
        super().__init__(encoder)
        self.momentum, self.temperature, self.parts = momentum, temperature, parts
        self.projector = nets.mlp((encoder.dim, 512, projection), norm=False)
        self.teacher = nets.Teacher(self.student())
        self.queue = nets.Queue(queue, projection)

    def student(self) -> nn.Module:
        """From images to queries: the network that the teacher follows."""
        return nn.Sequential(self.encoder, self.projector)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> a view of each, float [n, c, size, size]; another view, and its key [n, projection]."""
        seen, other = self.view(images), self.view(images)
        order = torch.randperm(len(other), generator=self.rng, device=other.device)
        keys = F.normalize(self.by_parts(self.teacher, other[order])[order.argsort()].float(), dim=1)
        self.keep(keys)
        return seen, (other, keys)

    def predict(self, seen):
        return self.by_parts(self.student(), seen)

    def loss(self, queries, withheld):
        _, keys = withheld
        negatives = self.queue.keys.clone()  # a copy, so that enqueueing before the backward pass is safe
        queries = F.normalize(queries, dim=1)
        right = (queries * keys).sum(1)
        return {
            "loss": losses.info_nce(queries, keys, negatives, self.temperature),
            "accuracy": (right > (queries @ negatives.T).amax(1)).float().mean(),
            "trivial": math.log(len(negatives) + 1),
        }

    def after_step(self):
        self.teacher.update(self.student(), self.momentum)
        self.queue.enqueue(*self.kept())

    def view(self, images):
        """Images uint8 [n, c, h, w] -> a random view of each, float [n, c, size, size]."""
        return views.distort(images, self.rng, size=self.encoder.size, jitter=(0.4, 0.4, 0.4, 0.1))

    def by_parts(self, network, images):
        """Apply `network` to the parts of the batch one by one, so that each part has its own statistics."""
        parts = max(1, min(self.parts, len(images) // 8))
        return torch.cat([network(part) for part in images.tensor_split(parts)])

    def picture(self, seen, withheld, queries=None):
        other, keys = withheld
        return paired(seen, other, None if queries is None else losses.nearest(F.normalize(queries, dim=1), keys))
