"""VICReg: variance, invariance, covariance."""

import torch
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, Positive, method, paired


@method(paper="Bardes, Ponce & LeCun, ICLR 2022", needs={"images": "image"}, family="distil")
class VICReg(Method):
    """Withholds the other view's embedding; predicts it with this view's own, whose features vary and are uncorrelated.

    There are two shortcuts. All images may be embedded alike: the standard deviation of each feature over the batch
    must therefore be at least 1. Features may repeat each other: their covariances are therefore penalised. Both terms
    use one view at a time, so neither negatives nor a teacher are needed. With several processes, the statistics are
    those of all batches together.

    Args:
        invariance: weight of the mean squared distance between the two embeddings.
        variance: weight of the mean amount by which standard deviations are below 1.
        covariance: weight of the squared covariances, summed over the other features.
        projection: length of the embeddings.
        hidden: width of the projector.
    """

    optimizer = Optimizer(lr=2e-3)
    compares = True

    def __init__(
        self,
        encoder: ImageEncoder,
        invariance: Positive = 25.0,
        variance: NonNegative = 25.0,
        covariance: NonNegative = 1.0,
        projection: Count = 512,
        hidden: Count = 512,
    ):
        super().__init__(encoder)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.projector = nets.mlp((encoder.dim, hidden, hidden, projection))

    def withhold(self, images):
        """uint8 [n, c, h, w] -> two views of each, float [2n, c, size, size]; index of each first view's partner."""
        seen = views.asymmetric_pair(images, self.rng, size=self.encoder.size)
        return seen, torch.arange(len(images), device=seen.device)

    def predict(self, seen):
        return self.projector(self.encoder(seen))

    def loss(self, embedded, partners):
        """Equation 6 of the paper, scaled as in the authors' code.

        The distance is a mean over features, not a sum, and the variance is a mean over both views.
        """
        both = torch.stack([losses.gather(z) for z in embedded.chunk(2)])
        invariance = F.mse_loss(*both)
        variance = F.relu(1 - (both.var(1) + 1e-4).sqrt()).mean()
        covariance = sum(losses.off_diagonal(torch.cov(z.T)) for z in both) / both.shape[2]
        return {
            "loss": self.invariance * invariance + self.variance * variance + self.covariance * covariance,
            "accuracy": (losses.nearest(*embedded.chunk(2)) == partners).float().mean(),
            "trivial": self.trivial(),
            "directions": losses.directions(embedded),
            "invariance": invariance,
            "variance": variance,
            "covariance": covariance,
        }

    def trivial(self):
        """The loss of independent noise with the standard deviation s, from 0 (a constant) to 1, that minimises it.

        The squared distance of two views is 2 s^2 on average, the standard deviation is 1 - s below 1, and covariances
        are near 0.
        """
        scale = min(1.0, self.variance / (4 * self.invariance))
        return 2 * self.invariance * scale**2 + self.variance * (1 - scale)

    def picture(self, seen, partners, embedded=None):
        return paired(*seen.chunk(2), None if embedded is None else losses.nearest(*embedded.chunk(2)))
