"""SimSiam."""

import torch
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, Optimizer, method, paired


@method(paper="Chen & He, CVPR 2021", needs={"images": "image"}, family="distil")
class SimSiam(Method):
    """Withholds the same network's embedding of the other view; predicts it, with neither negatives nor a teacher.

    The shortcut is to embed all images alike. Two things together prevent it: the stop-gradient on the target, and a
    predictor with a bottleneck. Batch normalisation, which also ends the projector, without scale and shift, is not
    sufficient by itself. The predictor's learning rate decays like all others.

    Args:
        projection: length of the embeddings.
        hidden: width of the projector.
        bottleneck: width of the predictor, a quarter of the embedding's length in the paper.
    """

    optimizer = Optimizer("sgd", lr=0.3, weight_decay=5e-4)

    def __init__(self, encoder: ImageEncoder, projection: Count = 512, hidden: Count = 512, bottleneck: Count = 128):
        super().__init__(encoder)
        self.projector = nets.mlp((encoder.dim, hidden, hidden, projection), last_norm=True)
        self.predictor = nets.mlp((projection, bottleneck, projection))

    def withhold(self, images):
        """uint8 [n, c, h, w] -> two views of each, float [2n, c, size, size]; each first view's partner [n]."""
        both = torch.cat([images, images])
        seen = views.distort(both, self.rng, size=self.encoder.size, jitter=(0.4, 0.4, 0.4, 0.1))
        return seen, torch.arange(len(images), device=seen.device)

    def predict(self, seen):
        """Return the predictions of the other view's embedding, and each view's own embedding, [2n, d]."""
        embedded = self.projector(self.encoder(seen))
        return self.predictor(embedded), embedded

    def loss(self, predicted, partners):
        """Equation 2 of the paper plus 1: 0 for perfect predictions, 1 for orthogonal directions."""
        said, embedded = predicted
        targets = F.normalize(embedded.detach(), dim=1).roll(len(partners), 0)
        return {
            "loss": losses.regression(said, targets) / 2,
            "accuracy": (losses.nearest(said.chunk(2)[0], targets.chunk(2)[0]) == partners).float().mean(),
            "trivial": 1 - losses.gather(targets).mean(0).norm(),
            "directions": losses.directions(targets),
        }

    def picture(self, seen, partners, predicted=None):
        if predicted is None:
            return paired(*seen.chunk(2), None)
        said, embedded = predicted
        targets = F.normalize(embedded, dim=1).roll(len(partners), 0)
        return paired(*seen.chunk(2), losses.nearest(said.chunk(2)[0], targets.chunk(2)[0]))
