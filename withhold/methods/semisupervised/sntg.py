"""SNTG: smooth neighbours on teacher graphs."""

from collections.abc import Sequence

import torch

from withhold import losses
from withhold.methods import ImageEncoder, NoisyViews, NonNegative, Positive, Probability, Share, method


@method(
    paper="Luo, Zhu, Li, Ren & Zhang, CVPR 2018",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class SNTG(NoisyViews):
    """Withholds the label, or the averaged weights' prediction, and which images share it; predicts both.

    A graph from the teacher's most probable classes, and from labels where there are any, defines which images are
    neighbours. Features of neighbours are pulled together; those of others are pushed apart, up to a margin.
    Consistency makes predictions smooth around each image; this makes them smooth between images. Wrong predictions
    pull classes together, and embedding all images in one point would make all of them neighbours, so both weights rise
    slowly.

    Args:
        weight: weight of the squared difference of the predictions, averaged over classes and all images, labelled or
            not; 0 ignores unlabelled images and neighbours.
        graph: weight of the loss on neighbours, relative to 1 for that difference.
        margin: minimum distance between features of different classes: the root mean square over features.
        noise: standard deviation of the noise on every view; the default is about 0.15 times that of the pixels.
        momentum: share of itself that the teacher keeps in a step.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    compares = True

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        graph: NonNegative = 0.4,
        margin: Positive = 1.0,
        noise: NonNegative = 0.04,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, noise=noise)
        self.graph, self.margin = graph, margin

    def withhold(self, labelled, unlabelled):
        """As in mean teacher; and for every image the index of a random image, with which it is compared."""
        seen, withheld = super().withhold(labelled, unlabelled)
        return seen, (*withheld, torch.randperm(len(seen), generator=self.rng, device=seen.device))

    def predict(self, seen):
        """Return scores and features."""
        features = self.encoder(seen)
        return self.head(features), features

    def loss(self, predicted, withheld):
        """Equations 3 to 6 of the paper."""
        (scores, features), (*usual, others) = predicted, withheld
        terms, (labels, answers, _) = super().loss(scores, usual), usual
        said = torch.cat([labels, answers[len(labels) :].argmax(1)])
        apart = losses.pair_distance(features, features[others], said == said[others], self.margin)
        weight = self.weight * self.risen * self.graph
        terms["loss"] = terms["loss"] + weight * apart
        terms["trivial"] = terms["trivial"] + weight * self.margin**2 * (said != said[others]).float().mean()
        return terms | {"neighbours": apart}

    def picture(self, seen, withheld, predicted=None):
        return super().picture(seen, withheld[:3], None if predicted is None else predicted[0])
