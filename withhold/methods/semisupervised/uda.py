"""UDA: unsupervised data augmentation."""

from collections.abc import Sequence

from withhold import losses, views
from withhold.methods import (
    ConsistencyTraining,
    ImageEncoder,
    LabelledViews,
    Magnitude,
    NonNegative,
    Positive,
    Probability,
    Share,
    method,
)  # fmt: skip


@method(
    paper="Xie, Dai, Hovy, Luong & Le, NeurIPS 2020",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class UDA(ConsistencyTraining):
    """Withholds the label, or the network's own prediction for a weak view; predicts it from a strong view.

    Predictions are sharpened, and count only where the network is confident, so that early errors do not reinforce
    themselves. Strong views are weak views with RandAugment and an erased square of half the image's side. Few labels
    are overfitted long before the unlabelled images are learned; annealing temporarily leaves out labelled images that
    are already predicted well.

    Args:
        weight: weight of the divergence from the predictions for weak views, averaged over all unlabelled images; 0
            ignores them.
        temperature: temperature of the sharpening; 1 leaves predictions as they are.
        confidence: minimum probability of a prediction, before sharpening, to count.
        annealing: how the probability above which a labelled image is left out rises from chance to 1: evenly
            ("linear"), late ("exp", for very few labels), early ("log", for many), or not used ("none").
        augmentation: what makes strong views: crops and flips as in weak views ("flip"), these with an erased square
            ("cutout"), or both with RandAugment ("randaugment").
        labelled_views: whether labelled images get weak views, as in the paper, or strong ones.
        magnitude: magnitude of RandAugment's operations, from 0 to 30 (uniform up to 27 in the paper, with half of the
            operations skipped).
        momentum: share of itself that the moving average of the weights keeps in a step; 0.9999 suits runs of 500,000
            steps.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 1.0,
        temperature: Positive = 0.4,
        confidence: Share = 0.8,
        annealing: losses.Annealing = "none",
        augmentation: views.Strong = "randaugment",
        labelled_views: LabelledViews = "weak",
        magnitude: Magnitude = 15.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(
            encoder, classes, weight, momentum, flip, magnitude,
            temperature=temperature, confidence=confidence, annealing=annealing, labelled_views=labelled_views,
        )  # fmt: skip
        self.augmentation = augmentation

    def strong(self, images):
        return views.strong(
            images, self.rng, size=self.encoder.size, flip=self.flip, magnitude=self.magnitude, kind=self.augmentation
        )
