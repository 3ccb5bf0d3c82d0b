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
    """Withholds the label, or the averaged weights' answer; predicts it, and which images of a batch share theirs.

    A graph of the teacher's likeliest classes, and of labels where there are any, says which images are neighbours.
    Features of neighbours are drawn together, and those of others driven apart, up to a margin. Consistency makes each
    answer smooth around its own image; this makes it smooth between images. Wrong answers draw classes together, and
    what draws all features into one point would make every image a neighbour: both weights rise slowly.

    Args:
        weight: of the squared difference of the answers, a mean over classes and over all images, labelled or not; 0
            takes nothing from those that are not, nor from neighbours.
        graph: weight of what neighbours cost, beside 1 for that difference.
        margin: how far apart the features of other classes are to be: the root mean square over features.
        noise: deviation of the noise on every view: 0.15 of that of the pixels.
        momentum: share of itself that the teacher keeps in a step.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        super().__init__(encoder, classes, weight, noise, momentum, flip)
        self.graph, self.margin = graph, margin

    def withhold(self, labelled, unlabelled):
        """As mean teacher; and for every image the number of another one, with which it is compared."""
        seen, withheld = super().withhold(labelled, unlabelled)
        return seen, (*withheld, torch.randperm(len(seen), generator=self.rng, device=seen.device))

    def predict(self, seen):
        """-> scores and features."""
        features = self.encoder(seen)
        return self.head(features), features

    def loss(self, predicted, withheld):
        """Equations 3 to 6 of the paper."""
        (scores, features), (*usual, others) = predicted, withheld
        terms, (labels, answers, _) = super().loss(scores, usual), usual
        said = torch.cat([labels, answers[len(labels) :].argmax(1)])
        apart = losses.pair_distance(features, features[others], said == said[others], self.margin)
        terms["loss"] = terms["loss"] + self.weight * self.risen * self.graph * apart
        return terms | {"neighbours": apart}

    def picture(self, seen, withheld, predicted=None):
        return super().picture(seen, withheld[:3], None if predicted is None else predicted[0])
