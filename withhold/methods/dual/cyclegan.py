"""CycleGAN."""

import torch
from torch import Tensor, nn

from withhold import losses, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, Probability, answers, method
from withhold.nets import Generator, ImagePool


@method(paper="Zhu, Park, Isola & Efros, ICCV 2017", needs={"first": "image", "second": "image"}, family="cycle")
class CycleGAN(Method):
    """Withholds an image and keeps its translation into another domain; predicts it by translating back, without pairs.

    Two generators translate images between the domains, one in each direction. Two discriminators distinguish real from
    generated images, patch by patch. They are linear layers on the map of one encoder (two networks in the paper): the
    discriminators must learn what both domains look like, while a generator has no bottleneck. Real and generated
    images are judged in one batch, so that batch normalisation does not hide their differences.

    Copying an image also closes the cycle, and only the discriminators prevent it: the term `change` measures how far
    translations are from their originals. Adversarial training needs many small steps: batches have one image in the
    paper and 16 here. The learning rate at that batch size is the paper's, but it decays along a cosine after a
    warm-up.

    Args:
        cycle: weight of the absolute error of the cycle (of values in [-1, 1]), relative to 1 for the adversarial loss.
        identity: weight, as a share of the cycle's, of the change that generators make to images already in their
            target domain.
        pool: number of earlier translations into each domain that may be shown to its discriminator again.
        width: channels of a generator at full resolution; the paper has 64.
        blocks: residual blocks of a generator; the paper has 6 for 128 pixels, 9 for 256.
        flip: probability of a horizontal flip; 0 for digits and letters.
    """

    optimizer = Optimizer(lr=8e-4, weight_decay=0.0, betas=(0.5, 0.999))
    batch_size = 16

    def __init__(
        self, encoder: ImageEncoder, cycle: NonNegative = 10.0, identity: NonNegative = 0.5,
        pool: Count = 50, width: Count = 16, blocks: Count = 2, flip: Probability = 0.5,
    ):  # fmt: skip
        super().__init__(encoder)
        self.cycle, self.identity, self.flip = cycle, identity, flip
        self.to_first, self.to_second = (Generator(encoder.channels, width, blocks) for _ in range(2))
        self.head = nn.Conv2d(encoder.dim, 2, 1)
        self.pools = nn.ModuleList(ImagePool(pool, encoder.channels, encoder.size) for _ in range(2))

    def withhold(self, first, second):
        """uint8 [n, c, h, w] of each domain -> crops with 256/286 of the side, float [2n, c, size, size]; twice."""
        both = torch.cat([first, second])
        both = self.encoder.view(both, self.rng, crop=(0.8, 0.8), aspect=(1, 1), flip=self.flip)
        return both, both

    def predict(self, both):
        """Translations, their back-translations, images mapped to their own domain, translations' scores: [2n, ...]."""
        made = self.generate(swapped(both))
        return made, self.generate(swapped(made)), self.generate(both), self.judge(both, made)[1]

    def loss(self, predicted, both):
        """Equation 3 of the paper plus the identity loss of its section 5.2. Every term is a sum over both domains."""
        made, returned, same, verdict = predicted
        adversarial = 2 * losses.least_squares_generator_loss(verdict)
        cycle, identity = distance(returned, both), distance(same, both)
        domains = both.unflatten(0, (2, -1))
        constant = distance(domains.median(1, keepdim=True).values, domains)
        return {
            "loss": adversarial + self.cycle * (cycle + self.identity * identity),
            "adversarial": adversarial,
            "cycle": cycle,
            "identity": identity,
            "change": distance(made, swapped(both)),
            "trivial": adversarial.detach() + self.cycle * (1 + self.identity) * constant,
        }

    def players(self):
        return {"generators": [self.to_first, self.to_second], "discriminators": [self.encoder, self.head]}

    def turn(self, player, batch, handed):
        """The discriminators see what the generators have just made, or earlier images from the pools instead."""
        if player == "generators":
            both, _ = self.hide(batch)
            predicted = self.predict(both)
            handed |= {"both": both, "made": predicted[0].detach().float()}
            return self.score(predicted, both)
        both, made = handed["both"], handed["made"]
        shown = [pool.swap(part, self.rng) for pool, part in zip(self.pools, made.chunk(2), strict=True)]
        true, false = self.judge(both, torch.cat(shown))
        return {
            "loss": 2 * losses.least_squares_discriminator_loss(true, false),
            "accuracy": ((true > 0.5).float().mean() + (false < 0.5).float().mean()) / 2,
        }

    def apply_to(self, image):
        """Translate an image of the first domain into the second, and back."""
        seen = views.with_channels(self.encoder.take(image), self.encoder.channels)
        translated = self.to_second(seen)
        shown = {"seen": seen, "translated": translated, "back": self.to_first(translated)}
        return {name: answers.Image(images[0]) for name, images in shown.items()}

    def picture(self, both, withheld, predicted=None):
        said = {} if predicted is None else {"translated": swapped(predicted[0]), "back": predicted[1]}
        return {"seen": both} | said

    def generate(self, images: Tensor) -> Tensor:
        """Images [2n, c, h, w] -> the first half translated to the first domain, the other half to the second."""
        first, second = images.chunk(2)
        return torch.cat([self.to_first(first), self.to_second(second)])

    def judge(self, true: Tensor, made: Tensor) -> Tensor:
        """Images [2n, c, size, size] each, by domain -> scores [2, 2n, grid, grid], near 1 where they look real."""
        scores = self.head(self.encoder.maps(torch.cat([true, made]))).unflatten(0, (2, 2, -1))
        return torch.cat([scores[:, 0, :, 0], scores[:, 1, :, 1]], 1)


def swapped(images: Tensor) -> Tensor:
    """Swap the two halves of [2n, ...]."""
    return images.roll(len(images) // 2, 0)


def distance(said: Tensor, true: Tensor) -> Tensor:
    """The mean absolute error on a scale of [-1, 1], summed over the two domains. The arguments broadcast."""
    return 4 * (said - true).abs().mean()
