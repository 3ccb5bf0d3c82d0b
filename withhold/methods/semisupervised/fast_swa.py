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
    """Withholds the label, or the network's own prediction for another view; predicts it while weights are averaged.

    Consistency training has many equally good solutions, and the weights keep moving among them; their average is
    better than each of them. The learning rate therefore decays and restarts in cycles. From the end of the first cycle
    on, the weights at several moments of each cycle, not only at its end, are averaged with equal weight. The average
    is the trained network. It is combined with the paper's Pi-model here. An untrained network could satisfy the
    consistency loss with a constant prediction, so the weight of consistency rises slowly.

    Args:
        weight: weight of the squared difference of the predictions, averaged over classes and all images, labelled or
            not; 0 ignores unlabelled images.
        moments: number of times per cycle at which the weights are averaged (10 in the paper).
        noise: standard deviation of the noise on every view; the default is about 0.15 times that of the pixels.
        flip: probability of a horizontal flip; 0 for digits and letters.
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
        super().__init__(encoder, classes, weight, 0.0, flip, noise=noise)
        self.moments, self.averaged, self.moment = moments, 0, -moments

    def guess(self, views):
        """The network's own predictions, as in the Pi-model."""
        return self.answers(views)

    def after_step(self):
        """Update the average: the network itself in the first cycle, then the plain mean over all moments so far."""
        self.steps += 1
        done = self.progress * self.steps / max(1, self.steps - 1)  # with this step, which `progress` does not count
        moment = int(done * CYCLES * self.moments + 1e-6) - self.moments  # from 0 at the end of the first cycle
        if moment < 0:
            self.averaged = 0
            self.teacher.update(self.student(), 0.0)
        elif moment != self.moment:  # it falls if a finished training is continued
            self.averaged += 1
            self.teacher.update(self.student(), 1 - 1 / self.averaged)
        self.moment = moment

    def get_extra_state(self):
        return torch.tensor([self.steps, self.averaged, self.moment])

    def set_extra_state(self, state):
        self.steps, self.averaged, self.moment = state.tolist()
