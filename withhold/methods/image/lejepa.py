"""LeJEPA."""

import torch

from withhold import losses, nets, views
from withhold.methods import Count, Fraction, ImageEncoder, Method, Optimizer, Several, method, paired


@method(paper="Balestriero & LeCun, arXiv 2511.08544, 2025", needs={"images": "image"}, family="distil")
class LeJEPA(Method):
    """Withholds the mean embedding of the views of an image; predicts it from each view alone.

    A test for an isotropic Gaussian (SIGReg), whose statistic is part of the loss, prevents collapse. There is no
    teacher, no predictor, no negatives and no stop-gradient. All views have the same size, as in the authors' minimal
    example. With several processes, all embeddings are tested together.

    Args:
        views: views per image; the cost of a step grows with them.
        balance: weight of the test in the loss; the agreement of the views has 1 minus this weight.
        slices: number of random directions tested in a step.
        projection: length of the tested embeddings.
    """

    optimizer = Optimizer(lr=2e-3, weight_decay=5e-4)
    compares = True

    def __init__(
        self,
        encoder: ImageEncoder,
        views: Several = 4,
        balance: Fraction = 0.05,
        slices: Count = 256,
        projection: Count = 32,
    ):
        super().__init__(encoder)
        self.views, self.balance, self.slices = views, balance, slices
        self.projector = nets.mlp((encoder.dim, 512, 512, projection))

    def withhold(self, images):
        """uint8 [n, c, h, w] -> views of each, float [v * n, c, size, size]; the image that each view shows [v * n]."""
        seen = views.distort(images.repeat(self.views, 1, 1, 1), self.rng, size=self.encoder.size, solarize=0.2)
        return seen, torch.arange(len(images), device=seen.device).repeat(self.views)

    def predict(self, seen):
        return self.projector(self.encoder(seen))

    def loss(self, embedded, shown):
        z = embedded.view(self.views, -1, embedded.shape[1])
        disagreement = (z - z.mean(0)).square().mean()
        departure = torch.stack([losses.sigreg(losses.gather(view), self.rng, slices=self.slices) for view in z]).mean()
        return {
            "loss": (1 - self.balance) * disagreement + self.balance * departure,
            "accuracy": (losses.nearest(*z[:2]) == shown[: z.shape[1]]).float().mean(),
            "trivial": self.trivial(z.shape[1] * losses.ranks(), z.device),
            "disagreement": disagreement,
            "sigreg": departure,
        }

    def trivial(self, n, device):
        """The minimum expected loss of Gaussian noise, over scales from 0 (a constant) to 1."""
        scale = torch.linspace(0, 1, 101, device=device)
        disagreement = scale.square() * (1 - 1 / self.views)
        return ((1 - self.balance) * disagreement + self.balance * losses.sigreg_of_noise(scale, n)).min()

    def picture(self, seen, shown, embedded=None):
        n = len(seen) // self.views
        return paired(*seen.split(n)[:2], None if embedded is None else losses.nearest(*embedded.split(n)[:2]))
