"""DINO."""

import torch
from torch import nn

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, Natural, Optimizer, Positive, Share, accuracy, method, paired


@method(paper="Caron et al., ICCV 2021", needs={"images": "image"}, family="distil")
class DINO(Method):
    """Withholds a slow teacher's prediction for a large crop of the image; predicts it from every other crop.

    Teacher and student predict a distribution over learned prototypes for each crop. There are two shortcuts: the
    teacher may always predict the same prototype, or always the uniform distribution. Centring (subtracting the mean
    scores) prevents the first, sharpening (a low temperature) the second; each alone would lead to the other shortcut.
    The term "entropy" is the entropy of the teacher's predictions: 0 in the first case, the logarithm of the number of
    prototypes in the second.

    The teacher sees two large crops. The student sees these and small crops of half the size. A learning rate warm-up
    replaces the paper's first epoch, in which prototypes are frozen. Unlike in the paper, the projector has batch
    normalisation.

    Args:
        prototypes: number of prototypes.
        local_views: number of small crops per image; by default 2 from 64 pixels on, else 0.
        momentum: share of itself that the teacher keeps in a step at the start; it rises to 1 along a cosine.
        temperature: temperature of the student's softmax.
        teacher_temperature: temperature of the teacher's softmax, lower than the student's; training may fail above
            0.06.
        projection: length of the embeddings that are compared with the prototypes.
        hidden: width of the projector.
    """

    optimizer = Optimizer(lr=1e-3, weight_decay=0.04)

    def __init__(
        self,
        encoder: ImageEncoder,
        prototypes: Count = 1024,
        local_views: Natural | None = None,
        momentum: Share = 0.99,
        temperature: Positive = 0.1,
        teacher_temperature: Positive = 0.04,
        projection: Count = 128,
        hidden: Count = 512,
    ):
        super().__init__(encoder)
        self.local_views = 2 * (encoder.size >= 64) if local_views is None else local_views
        self.momentum = momentum
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        projector = nets.mlp((encoder.dim, hidden, hidden, projection))
        self.head = nn.Sequential(projector, nets.Prototypes(projection, prototypes))
        self.teacher = nets.Teacher(self.student())
        self.register_buffer("centre", torch.zeros(prototypes))

    def student(self) -> nn.Module:
        """From images to scores of the prototypes: the network that the teacher follows."""
        return nn.Sequential(self.encoder, self.head)

    def withhold(self, images):
        """uint8 [n, c, h, w] -> large crops [2n, c, size, size], small ones; teacher's predictions [2n, prototypes]."""
        size = self.encoder.size
        seen = [views.asymmetric_pair(images, self.rng, size=size, crop=(0.4, 1.0))]
        if self.local_views:
            again = images.repeat(self.local_views, 1, 1, 1)
            seen.append(views.distort(again, self.rng, size=size // 2, crop=(0.05, 0.4)))
        scores = self.teacher(seen[0]).float()
        self.keep(scores)
        return seen, ((scores - self.centre) / self.teacher_temperature).softmax(1)

    def predict(self, seen):
        """Return scores of the prototypes [v * n, prototypes], those of the large crops first."""
        return torch.cat([self.student()(crops) for crops in seen])

    def loss(self, scores, shares):
        scores, said = scores.unflatten(0, (-1, len(shares) // 2)) / self.temperature, shares.unflatten(0, (2, -1))
        return {
            "loss": losses.swapped_cross_entropy(said, scores),
            "accuracy": accuracy(scores[1], said[0].argmax(1)),
            "trivial": torch.special.entr(shares.mean(0)).sum(),
            "entropy": torch.special.entr(shares).sum(1).mean(),
        }

    def after_step(self):
        self.teacher.update(self.student(), nets.cosine_momentum(self.momentum, self.progress))
        (scores,) = self.kept()
        self.centre.lerp_(losses.gather(scores).mean(0), 0.1)

    def picture(self, seen, shares, scores=None):
        """Pairs of views. In "where", a crop is bright where its predicted prototype has a high score."""
        first, second = seen[0].chunk(2)
        if scores is None:
            return paired(first, second, None)
        scores = scores[: len(first)]
        found = losses.nearest((scores / self.temperature).softmax(1), shares.chunk(2)[1])
        where = views.stretch(self.places(first, scores.argmax(1)), first.shape[2:])
        return paired(first, second, found) | {"where": first * where}

    def places(self, images, prototypes):
        """Scores [n, 1, h, w] of one of the `prototypes` [n] at every place of each image's map."""
        maps = self.encoder.maps(images)
        scores = self.head(maps.permute(0, 2, 3, 1).flatten(0, 2)).unflatten(0, (len(maps), -1))
        chosen = prototypes[:, None, None].expand(-1, scores.shape[1], 1)
        return scores.gather(2, chosen).view(-1, 1, *maps.shape[2:])
