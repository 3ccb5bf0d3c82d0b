"""SimGAN: refines simulated images until they look real."""

import torch
from torch import Tensor, nn

from withhold import losses, views
from withhold.methods import Count, ImageEncoder, Method, Natural, NonNegative, Optimizer, answers, method
from withhold.nets import ImagePool, Refiner

WARMUP = 0.25
"""Maximum share of the training in which the refiner only learns to copy."""


@method(
    paper="Shrivastava, Pfister, Tuzel, Susskind, Wang & Webb, CVPR 2017",
    needs={"simulated": "image", "real": "image"},
    family="adapt",
)
class SimGAN(Method):
    """Withholds the look of real images; predicts it for simulated images, whose labels stay valid.

    A refiner changes simulated images until a discriminator (the adversary) takes them for real, while a penalty on the
    change of each pixel keeps them close to their originals. The labels of simulated images therefore hold for
    realistic images. The adversary is a linear layer on the map of the encoder. It judges places, not whole images, so
    that the refiner cannot succeed with a single strong artefact. It also sees earlier refined images, which keeps the
    refiner from returning to old solutions. Real and refined images are judged in one batch, so that batch
    normalisation does not hide their differences.

    The refiner first learns to copy, and the term "change" measures how far it departs from copying. With a weight that
    is too small, labels become wrong; with one that is too large, images do not change.

    Args:
        weight: weight of the mean absolute change (of values in [-1, 1]), relative to 1 for the adversarial loss.
        warmup: number of initial steps in which the refiner only learns to copy, at most `WARMUP` of the training.
        pool: number of earlier refined images that may be shown to the adversary again.
        width: channels of the refiner; the paper has 64.
        blocks: residual blocks of the refiner; the paper has 4 for eyes of 35 x 55 pixels, 10 for hands.
    """

    optimizer = Optimizer(lr=8e-4, weight_decay=0.0, betas=(0.5, 0.999))
    batch_size = 32

    def __init__(
        self, encoder: ImageEncoder, weight: NonNegative = 5.0, warmup: Natural = 200,
        pool: Count = 500, width: Count = 32, blocks: Count = 4,
    ):  # fmt: skip
        super().__init__(encoder)
        self.weight, self.warmup = weight, warmup
        self.refiner = Refiner(encoder.channels, width, blocks)
        self.head = nn.Conv2d(encoder.dim, 1, 1)
        self.pool = ImagePool(pool, encoder.channels, encoder.size)
        self.steps = 0  # a number, not a buffer: reading a buffer from a GPU would synchronise in every step

    def withhold(self, simulated, real):
        """Images uint8 [n, c, h, w] of each -> both, shifted slightly, float [n, c, size, size]; the simulated ones."""
        moved = [views.weak(images, self.rng, size=self.encoder.size, flip=0.0) for images in (simulated, real)]
        seen, shown = (views.with_channels(images, self.encoder.channels) for images in moved)
        return (seen, shown), seen

    def predict(self, visible):
        """Return refined images [n, c, size, size], and the adversary's scores of them [n, 1, grid, grid]."""
        simulated, real = visible
        refined = self.refiner(simulated)
        return refined, self.judge(real, refined)[1]

    def loss(self, predicted, simulated):
        """Equation 4 of the paper, with means over places and pixels instead of sums."""
        refined, verdict = predicted
        adversarial = losses.generator_loss(verdict)
        change = 2 * (refined - simulated).abs().mean()
        listens = float(self.steps >= self.warmup or self.progress >= WARMUP)
        return {"loss": listens * adversarial + self.weight * change, "adversarial": adversarial, "change": change}

    def players(self):
        return {"refiner": [self.refiner], "adversary": [self.encoder, self.head]}

    def turn(self, player, batch, handed):
        """The adversary sees what the refiner has just made, or earlier images from the pool instead (section 2.3)."""
        if player == "refiner":
            visible, simulated = self.hide(batch)
            predicted = self.predict(visible)
            handed |= {"real": visible[1], "refined": predicted[0].detach().float()}
            return self.score(predicted, simulated)
        true, false = self.judge(handed["real"], self.pool.swap(handed["refined"], self.rng))
        return {
            "loss": losses.discriminator_loss(true, false),
            "accuracy": ((true > 0).float().mean() + (false < 0).float().mean()) / 2,
        }

    def judge(self, real: Tensor, refined: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, c, size, size] each -> scores [n, 1, grid, grid] each, high at places that look real."""
        true, false = self.head(self.encoder.maps(torch.cat([real, refined]))).split([len(real), len(refined)])
        return true, false

    def after_step(self):
        self.steps += 1

    def get_extra_state(self):
        return torch.tensor(self.steps)

    def set_extra_state(self, state):
        self.steps = int(state)

    def apply_to(self, image):
        """Refine a simulated image."""
        seen = views.with_channels(self.encoder.take(image), self.encoder.channels)
        return {"seen": answers.Image(seen[0]), "refined": answers.Image(self.refiner(seen)[0])}

    def picture(self, visible, simulated, predicted=None):
        said = {} if predicted is None else {"refined": predicted[0]}
        return {"seen": simulated, **said, "real": visible[1]}
