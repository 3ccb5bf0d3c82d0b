"""f-AnoGAN: what a generator of normal images cannot make."""

from functools import partial

import torch
from torch import nn

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, answers, method
from withhold.nets import Decoder, Discriminator

WIDTH, SIDE = 128, 4
"""Channels and cells along each side of the map that the generator begins with."""
PENALTY = 10.0


@method(
    paper="Schlegl, Seeböck, Waldstein, Langs & Schmidt-Erfurth, Medical Image Analysis 2019",
    needs={"images": "image"},
    family="reconstruct",
)
class FAnoGAN(Method):
    """Withholds an image behind a code from which a generator makes normal images; predicts it from that code.

    A generator learns normal images by a game against a critic (WGAN-GP), from random codes, and never sees what the
    encoder says. So where an image is not like those, it can only be predicted as one that is, and the error tells: of
    its pixels, and of the critic's features. Codes are kept to (-1, 1), where the generator was at home: codes from far
    away could make anything. The paper trains the encoder after the game (izi_f); here all learn at once, while their
    learning rates fall together, so that the encoder ends on a generator that stands still. In its turn that is in
    evaluation mode, and no weight of the game moves. A critic that learns four times as fast takes the place of five
    turns for one of the generator's (Heusel et al., NIPS 2017).

    Args:
        code: its length.
        features: weight of the error of the critic's features, beside 1 for that of pixels (of values in [-1, 1]).
    """

    optimizer = {
        "encoder": Optimizer(weight_decay=0.0),
        "generator": Optimizer(lr=4e-4, weight_decay=0.0, betas=(0.0, 0.9)),
        "critic": Optimizer(lr=16e-4, weight_decay=0.0, betas=(0.0, 0.9)),
    }
    batch_size = 64
    learns = "psnr"

    def __init__(self, encoder: ImageEncoder, code: Count = 64, features: NonNegative = 1.0):
        super().__init__(encoder)
        if encoder.size < 8:
            raise ValueError(f"images of {encoder.size} pixels are too small for the critic: give --size 8 or more.")
        self.length, self.features = code, features
        self.code = nn.Sequential(nn.Flatten(), nn.Linear(encoder.dim * encoder.grid**2, code), nn.Tanh())
        self.generator = nn.Sequential(
            nn.Linear(code, WIDTH * SIDE**2),
            nn.Unflatten(1, (WIDTH, SIDE, SIDE)),
            Decoder(WIDTH, encoder.channels, SIDE, encoder.size),
            nn.Sigmoid(),
        )
        # Batch normalisation would let the score of an image, and so its slope, depend on other images.
        self.critic = Discriminator(encoder.channels, encoder.size, norm=partial(nn.GroupNorm, 1))

    def withhold(self, images):
        """uint8 [n, c, h, w] -> the image float [n, c, size, size], and the same again."""
        image = views.augment(images, self.rng, size=self.encoder.size, flip=0.0)
        image = views.with_channels(image, self.encoder.channels)
        return image, image

    def predict(self, images):
        return self.generator(self.code(self.encoder.maps(images)))

    def loss(self, predicted, images):
        with torch.no_grad():  # the mean of all
            trivial = self.strangeness(images.mean(0).expand_as(images), images).mean()
        error = losses.squared_error(predicted, images)
        return {
            "loss": self.strangeness(predicted, images).mean(), "psnr": losses.psnr(error), "trivial": trivial,
        }  # fmt: skip

    def players(self):
        return {"encoder": [self.encoder, self.code], "generator": [self.generator], "critic": [self.critic]}

    def turn(self, player, batch, handed):
        """The critic sees what the generator has just made, beside the images that the encoder has just seen."""
        self.generator.train(self.training and player != "encoder")
        if player == "encoder":
            handed["true"], _ = self.hide(batch)
            return self.score(self.predict(handed["true"]), handed["true"])
        true = handed["true"]
        if player == "generator":
            made = self.generator(self.codes(len(true)))
            handed["made"] = made.detach().float()
            return {"loss": -self.critic(made).mean()}
        made = handed["made"]
        penalty = losses.gradient_penalty(true, made, self.critic, self.rng)
        distance = self.critic(true).mean() - self.critic(made).mean()
        return {"loss": PENALTY * penalty - distance, "distance": distance, "penalty": penalty}

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.generator, plain(), lambda images: self.generator(self.codes(len(images))))

    def codes(self, count):
        """Random codes [count, length]."""
        return torch.randn(count, self.length, generator=self.rng, device=self.rng.device)

    def says(self):
        return {"anomaly": lambda images: self.strangeness(self.predict(images), images)}

    def apply_to(self, image):
        """The nearest normal image that it can make, where the image differs from that, and how much altogether."""
        seen = views.with_channels(self.encoder.take(image), self.encoder.channels)
        made = self.predict(seen)
        shown = {"seen": seen, "normal": made, "difference": (seen - made).abs()}
        return {name: answers.Image(pixels[0]) for name, pixels in shown.items()} | {
            "anomaly": f"{self.strangeness(made, seen).item():.4f}"
        }

    def picture(self, images, same, predicted=None):
        columns = {"seen": images}
        if predicted is not None:
            said = predicted.float()
            columns |= {"said": said, "difference": (images - said).abs()}
        return columns

    def strangeness(self, said, images):
        """What is predicted of images, and these [n, c, size, size] -> the error of each [n] (its section 3.3)."""
        images = views.with_channels(images, self.encoder.channels)
        pixels = 4 * (said - images).square().flatten(1).mean(1)
        features = (self.critic.features(said) - self.critic.features(images)).square().flatten(1).mean(1)
        return pixels + self.features * features
