"""BYOL."""

import torch
from torch import nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, Probability, method, paired


@method(paper="Grill et al., NeurIPS 2020", needs={"images": "image"}, family="distil")
class BYOL(Method):
    """Withholds a slow teacher's embedding of the other view; predicts it, with no negatives.

    Three things prevent collapse: the predictor, which only the student has; batch normalisation in projector and
    predictor; and the slowly moving teacher. The teacher normalises by the statistics of the current batch, as the
    student does. Both views of all images go through each network in one pass.

    Args:
        momentum: share of itself that the teacher keeps in a step at the start; it rises to 1 along a cosine.
        projection: length of the embeddings.
        hidden: width of projector and predictor.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        momentum: Probability = 0.97,
        projection: Count = 128,
        hidden: Count = 512,
    ):
        super().__init__(encoder)
        self.momentum = momentum
        self.projector = nets.mlp((encoder.dim, hidden, projection))
        self.predictor = nets.mlp((projection, hidden, projection))
        self.teacher = nets.Teacher(self.student())

    def student(self) -> nn.Module:
        """From images to embeddings: the network that the teacher follows."""
        return nn.Sequential(self.encoder, self.projector)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> two views of each, float [2n, c, size, size]; the other view's embedding [2n, d]."""
        seen = views.asymmetric_pair(images, self.rng, size=self.encoder.size)
        return seen, F.normalize(self.teacher(seen).float(), dim=1).roll(len(images), 0)

    def predict(self, seen):
        return self.predictor(self.student()(seen))

    def loss(self, predicted, targets):
        """Equation 2 of the paper, summed over both directions: between 0 and 8."""
        found = self.nearest(predicted, targets)
        return {
            "loss": 2 * losses.regression(predicted, targets),
            "accuracy": (found == torch.arange(len(found), device=found.device)).float().mean(),
            "trivial": 4 - 4 * losses.gather(targets).mean(0).norm(),
        }

    def nearest(self, predicted, targets):
        """For every prediction [2n, d], the index of the nearest target among those of the same direction [2n]."""
        predicted, candidates = predicted.detach().float().unflatten(0, (2, -1)), targets.unflatten(0, (2, -1))
        index = (predicted @ candidates.mT).argmax(2)
        index[1] += index.shape[1]
        return index.flatten()

    def after_step(self):
        self.teacher.update(self.student(), nets.cosine_momentum(self.momentum, self.progress))

    def picture(self, seen, targets, predicted=None):
        others = seen.roll(len(seen) // 2, 0)
        return paired(seen, others, None if predicted is None else self.nearest(predicted, targets))
