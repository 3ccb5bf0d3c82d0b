"""UDA: unsupervised data augmentation."""

from collections.abc import Sequence
from typing import Literal

from withhold import losses, views
from withhold.methods import (
    ConsistencyTraining,
    ImageEncoder,
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
    """Withholds the label, or the network's own answer to a weak view; predicts it from a strongly changed one.

    The answer is sharpened, and counts only where the network is sure, so that early guesses do not confirm themselves.
    Strong views are weak ones after RandAugment, with a square erased that is half as wide. With few labels, these are
    learned by heart long before the rest is understood: annealing leaves out those that are known well for the time.

    Args:
        weight: of the divergence from the answers to weak views, a mean over all unlabelled images; 0 takes nothing
            from these.
        temperature: of the sharpening; 1 leaves answers as they are.
        confidence: how sure an answer must be, before sharpening, to count.
        annealing: how the confidence at which a labelled image is left out rises from chance to 1: evenly ("linear"),
            late ("exp", for very few labels), early ("log", for many), or not at all ("none").
        augmentation: what makes strong views: crops and mirror images as of weak ones ("flip"), these with a square
            erased ("cutout"), or both after RandAugment ("randaugment").
        labelled_views: whether labelled images are shown weakly changed, as in the paper, or as strongly as the others.
        magnitude: of RandAugment's operations, from 0 to 30 (uniform up to 27 in the paper, and half of them left out).
        momentum: share of itself that the average keeps in a step; 0.9999 suits runs of 500,000 steps.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        labelled_views: Literal["weak", "strong"] = "weak",
        magnitude: Magnitude = 15.0,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, temperature, confidence, annealing, momentum, flip, magnitude)
        self.augmentation, self.labelled_views = augmentation, labelled_views

    def strong(self, images):
        return views.strong(
            images, self.rng, size=self.encoder.size, flip=self.flip, magnitude=self.magnitude, kind=self.augmentation
        )

    def withhold(self, labelled, unlabelled):
        seen, withheld = super().withhold(labelled, unlabelled)
        images, _ = labelled
        if self.labelled_views == "strong":
            seen[: len(images)] = self.strong(images)
        return seen, withheld
