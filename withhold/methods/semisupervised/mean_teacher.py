"""Mean teacher."""

from collections.abc import Sequence

from withhold.methods import ImageEncoder, NoisyViews, NonNegative, Probability, Share, method


@method(
    paper="Tarvainen & Valpola, NIPS 2017",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class MeanTeacher(NoisyViews):
    """Withholds the label, or the averaged weights' prediction for another view; predicts it.

    The averaged weights (the teacher) are the better classifier, and provide the targets. An untrained network could
    satisfy the consistency loss with a constant prediction, so the weight of consistency rises slowly. Views are
    shifted, flipped and noisy. Unlike the paper's networks, these have no dropout.

    Args:
        weight: weight of the squared difference of the predictions, averaged over classes and all images, labelled or
            not; 0 ignores unlabelled images.
        noise: standard deviation of the noise on every view; the default is about 0.15 times that of the pixels.
        momentum: share of itself that the teacher keeps in a step; 0.999 suits runs of 100,000 steps and more.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        noise: NonNegative = 0.04,
        momentum: Share = 0.99,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, momentum, flip, noise=noise)
