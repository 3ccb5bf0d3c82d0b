"""JiGen: which class, and how the tiles were shuffled, in several domains at once."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from withhold import views
from withhold.methods import Classifier, ImageEncoder, NonNegative, accuracy, method
from withhold.orders import Balanced


@method(paper="Carlucci et al., CVPR 2019 (JiGen)", needs={"images": "image + label + domain"}, family="adapt")
class JiGen(Classifier):
    """Withholds the class of an image and how its four tiles were shuffled; predicts both.

    Every domain counts as much as the others, however many images it has.

    Args:
        weight: of the shuffling, beside 1 for the class.
    """

    order = {"images": Balanced()}

    def __init__(self, encoder: ImageEncoder, classes, weight: NonNegative = 0.7):
        super().__init__(encoder, classes)
        self.weight = weight
        self.register_buffer("shuffles", torch.tensor(list(itertools.permutations(range(4)))))
        self.judge = nn.Linear(encoder.dim, len(self.shuffles))

    def withhold(self, images):
        """Images uint8 [n, c, h, w] -> these and shuffled ones [2n, c, h, w]; labels, domains and shuffles [n]."""
        images, labels, domains = images
        seen = views.flip(views.to_float(images), self.rng)
        shuffles = torch.randint(len(self.shuffles), labels.shape, generator=self.rng, device=labels.device)
        tiles = torch.stack([tile for row in seen.chunk(2, 2) for tile in row.chunk(2, 3)], 1)
        a, b, c, d = tiles.take_along_dim(self.shuffles[shuffles][:, :, None, None, None], 1).unbind(1)
        shuffled = torch.cat([torch.cat([a, b], 3), torch.cat([c, d], 3)], 2)
        return torch.cat([seen, shuffled]), (labels, domains, shuffles)

    def predict(self, seen):
        whole, shuffled = self.encoder(seen).chunk(2)
        return self.head(whole), self.judge(shuffled)

    def loss(self, predicted, withheld):
        (named, judged), (labels, domains, shuffles) = predicted, withheld
        losses = F.cross_entropy(named, labels, reduction="none")
        named_loss = torch.stack([losses[domains == domain].mean() for domain in domains.unique()]).mean()
        return {
            "loss": named_loss + self.weight * F.cross_entropy(judged, shuffles),
            "accuracy": accuracy(named, labels),
            "shuffle accuracy": accuracy(judged, shuffles),
        }

    def picture(self, seen, withheld, predicted=None):
        whole, shuffled = seen.chunk(2)
        labels, domains, _ = withheld
        columns = {"seen": whole, "shuffled": shuffled, "true": [self.classes[k] for k in labels.tolist()]}
        columns["domain"] = [f"domain {domain}" for domain in domains.tolist()]
        if predicted is not None:
            columns["said"] = [self.classes[k] for k in predicted[0].argmax(1).tolist()]
        return columns
