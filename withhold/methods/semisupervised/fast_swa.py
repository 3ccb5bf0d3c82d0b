"""fast-SWA: fast stochastic weight averaging."""

from collections.abc import Sequence

import torch

from withhold.methods import Count, ImageEncoder, NoisyViews, NonNegative, Optimizer, Probability, method

CYCLES = 5


@method(
    paper="Athiwaratkun, Finzi, Izmailov & Wilson, ICLR 2019",
    needs={"labelled": "image + label", "unlabelled": "image"},
    family="consistency",
)
class FastSWA(NoisyViews):
    """Withholds the label, or the network's own answer to another view; predicts it while weights are averaged.

    Consistency leaves many solutions that are as good, and the steps go on wandering among them; what lies amid them is
    better than any. So the learning rate falls and starts anew, cycle by cycle, and from the second one on the weights
    of several moments of each cycle, not only of its end, are averaged, all alike. That average is what has been
    learned. It goes with the paper's Pi-model here. While the network knows nothing, a constant answer would satisfy
    it: the weight of consistency rises slowly.

    Args:
        weight: of the squared difference of the answers, a mean over classes and over all images, labelled or not; 0
            takes nothing from those that are not.
        moments: of a cycle, at which the weights are averaged (10 in the paper).
        noise: deviation of the noise on every view: 0.15 of that of the pixels.
        flip: probability that a view is a mirror image; 0 for digits and letters.
    """

    optimizer = Optimizer(schedule="cyclic", cycles=CYCLES)

    def __init__(
        self,
        encoder: ImageEncoder,
        classes: Sequence[str],
        weight: NonNegative = 100.0,
        moments: Count = 10,
        noise: NonNegative = 0.04,
        flip: Probability = 0.5,
    ):
        super().__init__(encoder, classes, weight, noise, 0.0, flip)
        self.moments, self.averaged = moments, 0

    def guess(self, views):
        """The network's own answers, as the Pi-model has it."""
        return self.answers(views)

    def after_step(self):
        """The average is the network itself in the first cycle, and then a plain mean over the moments so far."""
        self.steps += 1
        passed = int(self.progress * CYCLES * self.moments) - self.moments  # moments since the first cycle ended
        if passed < 0:
            self.teacher.update(self.student(), 0.0)
        elif passed >= self.averaged:
            self.averaged += 1
            self.teacher.update(self.student(), 1 - 1 / self.averaged)

    def get_extra_state(self):
        return torch.tensor([self.steps, self.averaged])

    def set_extra_state(self, state):
        self.steps, self.averaged = state.tolist()
