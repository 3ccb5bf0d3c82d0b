"""Barlow Twins."""

import torch
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, method, paired


@method(paper="Zbontar, Jing, Misra, LeCun & Deny, ICML 2021", needs={"images": "image"}, family="distil")
class BarlowTwins(Method):
    """Withholds the other view's embedding; predicts each feature from the same feature of this view's embedding.

    The features of one view's embeddings are correlated with those of the other's over the batch, and the loss drives
    the correlation matrix to the identity. The diagonal makes each feature agree between the views. The other entries
    keep features from repeating each other, which would be the shortcut. A constant feature gains nothing, because
    features are standardised over the batch. With several processes, correlations are computed over all batches
    together.

    Args:
        redundancy: weight of the squared correlations between different features; the paper's 0.0051 is for 8,192
            features, each of which is correlated with as many others.
        projection: length of the embeddings; longer ones are better, in the paper up to 16,384.
        hidden: width of the projector.
    """

    optimizer = Optimizer(lr=2e-3)
    compares = True

    def __init__(
        self,
        encoder: ImageEncoder,
        redundancy: NonNegative = 0.02,
        projection: Count = 512,
        hidden: Count = 512,
    ):
        super().__init__(encoder)
        self.redundancy = redundancy
        self.projector = nets.mlp((encoder.dim, hidden, hidden, projection), last_norm=True)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> two views of each, float [2n, c, size, size]; index of each first view's partner."""
        seen = views.asymmetric_pair(images, self.rng, size=self.encoder.size)
        return seen, torch.arange(len(images), device=seen.device)

    def predict(self, seen):
        return self.projector(self.encoder(seen))

    def loss(self, embedded, partners):
        """Equation 1 of the paper. An embedding that ignores the image has no correlations, and costs 1 per feature."""
        first, second = (F.batch_norm(losses.gather(z), None, None, training=True) for z in embedded.chunk(2))
        correlations = first.T @ second / len(first)
        invariance, redundancy = (correlations.diagonal() - 1).square().sum(), losses.off_diagonal(correlations)
        return {
            "loss": invariance + self.redundancy * redundancy,
            "accuracy": (losses.nearest(*embedded.chunk(2)) == partners).float().mean(),
            "trivial": len(correlations),
            "directions": losses.directions(embedded),
            "invariance": invariance,
            "redundancy": redundancy,
        }

    def picture(self, seen, partners, embedded=None):
        return paired(*seen.chunk(2), None if embedded is None else losses.nearest(*embedded.chunk(2)))
