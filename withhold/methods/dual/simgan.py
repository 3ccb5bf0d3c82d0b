"""SimGAN: simulated images, refined until they look real."""

from typing import Annotated

import torch
from torch import Tensor, nn

from withhold import losses, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, Range, answers, method
from withhold.nets import ImagePool, Refiner


@method(
    paper="Shrivastava, Pfister, Tuzel, Susskind, Wang & Webb, CVPR 2017",
    needs={"simulated": "image", "real": "image"},
    family="adapt",
)
class SimGAN(Method):
    """Withholds how real images look; predicts it for simulated ones, whose labels stay true.

    A refiner changes simulated images until an adversary takes them for real, and is held to what it was given by how
    far it changes a pixel. What a person knows of a simulated image is then known of one that looks real. The adversary
    is a linear layer on the map of the encoder: it judges places, not images, so that the refiner cannot please it by
    one loud artefact. It also sees images that were refined earlier, which the refiner must not come back to. True and
    refined images are judged in one batch, so that batch normalisation does not hide what they differ in.

    Copying is what the refiner learns first, and "change" says how far it goes from there: too little weight lets
    labels drift, too much leaves images as they were.

    Args:
        weight: of the mean absolute change (of values in [-1, 1]), beside 1 for the adversary's verdict.
        warmup: steps in which the refiner learns to copy, before it listens to the adversary.
        pool: how many images that were refined earlier may be shown to the adversary again.
        width: channels of the refiner; the paper has 64.
        blocks: residual blocks of the refiner; the paper has 4 for eyes of 35 x 55 pixels, 10 for hands.
    """

    optimizer = Optimizer(lr=8e-4, weight_decay=0.0, betas=(0.5, 0.999))
    batch_size = 32

    def __init__(
        self, encoder: ImageEncoder, weight: NonNegative = 5.0, warmup: Annotated[int, Range(least=0)] = 200,
        pool: Count = 500, width: Count = 32, blocks: Count = 4,
    ):  # fmt: skip
        super().__init__(encoder)
        self.weight, self.warmup = weight, warmup
        self.refiner = Refiner(encoder.channels, width, blocks)
        self.head = nn.Conv2d(encoder.dim, 1, 1)
        self.pool = ImagePool(pool, encoder.channels, encoder.size)
        self.steps = 0  # a number and no buffer: reading one from a GPU would wait for it in every step

    def withhold(self, simulated, real):
        """uint8 [n, c, h, w] each -> both, moved a little, float [n, c, size, size]; the simulated ones."""
        moved = [views.weak(images, self.rng, size=self.encoder.size, flip=0.0) for images in (simulated, real)]
        seen, shown = (views.with_channels(images, self.encoder.channels) for images in moved)
        return (seen, shown), seen

    def predict(self, visible):
        """Refined images [n, c, size, size], and the adversary's verdict on them [n, 1, grid, grid]."""
        simulated, real = visible
        refined = self.refiner(simulated)
        return refined, self.judge(real, refined)[1]

    def loss(self, predicted, simulated):
        """Equation 4 of the paper, with means over places and over pixels where that has sums."""
        refined, verdict = predicted
        adversarial = losses.generator_loss(verdict)
        change = 2 * (refined - simulated).abs().mean()
        listens = float(self.steps >= self.warmup)
        return {"loss": listens * adversarial + self.weight * change, "adversarial": adversarial, "change": change}

    def players(self):
        return {"refiner": [self.refiner], "adversary": [self.encoder, self.head]}

    def turn(self, player, batch, handed):
        """The adversary sees what the refiner has just made, or in its place what the pool remembers (section 2.3)."""
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
        """A simulated image as it looks when it is refined."""
        seen = views.with_channels(self.encoder.take(image), self.encoder.channels)
        return {"seen": answers.Image(seen[0]), "refined": answers.Image(self.refiner(seen)[0])}

    def picture(self, visible, simulated, predicted=None):
        said = {} if predicted is None else {"refined": predicted[0]}
        return {"seen": simulated, **said, "real": visible[1]}
