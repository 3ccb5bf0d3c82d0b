"""CycleGAN."""

import torch
from torch import Tensor, nn

from withhold import losses, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, Probability, answers, method
from withhold.nets import Generator, ImagePool


@method(paper="Zhu, Park, Isola & Efros, ICCV 2017", needs={"first": "image", "second": "image"}, family="cycle")
class CycleGAN(Method):
    """Withholds an image behind its translation into another domain; predicts it by translating back, with no pairs.

    Two generators make images of the second domain from the first's and the reverse. Two discriminators tell true from
    made, patch by patch. They are linear layers on the map of one encoder (two networks in the paper): telling takes
    knowing how both domains look, while a generator has no code shorter than its image. Batch normalisation must not
    hide what true and made images differ in, so they are judged in one batch.

    Copying closes the cycle, and only the discriminators forbid it: `change` says how far translations are from their
    originals. A game is learned move by move: steps are many and small, of one image in the paper and of 16 here, and
    the learning rate is the paper's at that, but falls along a cosine after a warm-up.

    Args:
        cycle: weight of the cycle's absolute error (of values in [-1, 1]), beside 1 for the discriminators' verdict.
        identity: weight, as a share of the cycle's, of what generators change in images that need no translation.
        pool: how many earlier translations into each domain may be shown to its discriminator again.
        width: channels of a generator at full size; the paper has 64.
        blocks: residual blocks of a generator; the paper has 6 for 128 pixels, 9 for 256.
        flip: probability that a view is a mirror image; 0 for digits and letters.
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
        """uint8 [n, c, h, w] of each domain -> squares of 256/286 of their side, float [2n, c, size, size]; again."""
        both = torch.cat([first, second])
        both = views.augment(both, self.rng, size=self.encoder.size, crop=(0.8, 0.8), aspect=(1, 1), flip=self.flip)
        both = views.with_channels(both, self.encoder.channels)
        return both, both

    def predict(self, both):
        """Made from the other domain, returned to their own, made from their own; verdicts on the first: [2n, ...]."""
        made = self.generate(swapped(both))
        return made, self.generate(swapped(made)), self.generate(both), self.judge(both, made)[1]

    def loss(self, predicted, both):
        """Equation 3 of the paper and the identity loss of its section 5.2; every term is a sum over both domains."""
        made, returned, same, verdict = predicted
        adversarial = 2 * losses.least_squares_generator_loss(verdict)
        cycle, identity = distance(returned, both), distance(same, both)
        domains = both.unflatten(0, (2, -1))
        return {
            "loss": adversarial + self.cycle * (cycle + self.identity * identity),
            "adversarial": adversarial,
            "cycle": cycle,
            "identity": identity,
            "change": distance(made, swapped(both)),
            "trivial": self.cycle * (1 + self.identity) * distance(domains.median(1, keepdim=True).values, domains),
        }

    def players(self):
        return {"generators": [self.to_first, self.to_second], "discriminators": [self.encoder, self.head]}

    def turn(self, player, batch, handed):
        """The discriminators see what the generators have just made, or in its place what a pool remembers."""
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
        """An image of the first domain as one of the second, and back."""
        seen = views.with_channels(self.encoder.take(image), self.encoder.channels)
        translated = self.to_second(seen)
        shown = {"seen": seen, "translated": translated, "back": self.to_first(translated)}
        return {name: answers.Image(images[0]) for name, images in shown.items()}

    def picture(self, both, withheld, predicted=None):
        said = {} if predicted is None else {"translated": swapped(predicted[0]), "back": predicted[1]}
        return {"seen": both} | said

    def generate(self, images: Tensor) -> Tensor:
        """Images [2n, c, h, w] -> the first half as of the first domain, the other one as of the second."""
        first, second = images.chunk(2)
        return torch.cat([self.to_first(first), self.to_second(second)])

    def judge(self, true: Tensor, made: Tensor) -> Tensor:
        """Images [2n, c, size, size] each, by domain -> scores [2, 2n, grid, grid], near 1 where they look true."""
        scores = self.head(self.encoder.maps(torch.cat([true, made]))).unflatten(0, (2, 2, -1))
        return torch.cat([scores[:, 0, :, 0], scores[:, 1, :, 1]], 1)


def swapped(images: Tensor) -> Tensor:
    """[2n, ...] with its halves swapped."""
    return images.roll(len(images) // 2, 0)


def distance(said: Tensor, true: Tensor) -> Tensor:
    """The mean absolute error on a scale of [-1, 1], summed over the two domains; the arguments broadcast."""
    return 4 * (said - true).abs().mean()
