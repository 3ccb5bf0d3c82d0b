"""Mean teacher."""

from collections.abc import Sequence

from withhold.methods import ImageEncoder, NoisyViews, NonNegative, Probability, Share, method


@method(
    paper="Tarvainen & Valpola, NIPS 2017",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class MeanTeacher(NoisyViews):
    """Withholds the label, or the answer of the averaged weights to another view; predicts it.

    The average is the better classifier, and teaches what it follows. While neither knows anything, a constant answer
    would satisfy both: the weight of consistency rises slowly. Views are moved, mirrored and noisy; unlike the paper's
    networks, ours drop nothing out.

    Args:
        weight: of the squared difference of the answers, a mean over classes and over all images, labelled or not; 0
            takes nothing from those that are not.
        noise: deviation of the noise on every view: 0.15 of that of the pixels.
        momentum: share of itself that the teacher keeps in a step; 0.999 suits runs of 100,000 steps and more.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        super().__init__(encoder, classes, weight, noise, momentum, flip)
