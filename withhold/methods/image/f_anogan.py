"""f-AnoGAN: anomaly detection with a generator of normal images."""

from functools import partial

import torch
from torch import nn

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, Optimizer, answers, method
from withhold.nets import Decoder, Discriminator

WIDTH, SIDE = 128, 4
"""Channels, and cells along each side, of the generator's first map."""
PENALTY = 10.0


@method(
    paper="Schlegl, Seeböck, Waldstein, Langs & Schmidt-Erfurth, Medical Image Analysis 2019",
    needs={"images": "image"},
    family="reconstruct",
)
class FAnoGAN(Method):
    """Withholds an image and keeps its code; predicts it from the code with a generator of normal images.

    A generator learns normal images from random codes, against a critic (WGAN-GP); it is never trained on the encoder's
    codes. An abnormal image can only be predicted as a normal one, so its error shows the anomaly, both in pixels and
    in the critic's features. Codes are limited to (-1, 1), where the generator was trained; distant codes could produce
    any image. The paper trains the encoder after the generator (izi_f). Here all networks are trained together with
    decreasing learning rates, so that the generator hardly changes at the end. In the encoder's turn, generator and
    critic are frozen, and the generator is in eval mode. A critic that learns four times as fast replaces five turns of
    the critic for each turn of the generator (Heusel et al., NIPS 2017).

    Args:
        code: length of the code.
        features: weight of the error of the critic's features, relative to 1 for that of pixels (of values in [-1, 1]).
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
        # With batch normalisation, the score of an image and its gradient would depend on other images.
        self.critic = Discriminator(encoder.channels, encoder.size, norm=partial(nn.GroupNorm, 1))

    def withhold(self, images):
        """Images uint8 [n, c, h, w] -> the images float [n, c, size, size], as input and as target."""
        image = self.encoder.view(images, self.rng, flip=0.0)
        return image, image

    def predict(self, images):
        return self.generator(self.code(self.encoder.maps(images)))

    def loss(self, predicted, images):
        with torch.no_grad():  # the error of the mean image
            trivial = self.strangeness(images.mean(0).expand_as(images), images).mean()
        error = losses.squared_error(predicted, images)
        return {
            "loss": self.strangeness(predicted, images).mean(), "psnr": losses.psnr(error), "trivial": trivial,
        }  # fmt: skip

    def players(self):
        return {"encoder": [self.encoder, self.code], "generator": [self.generator], "critic": [self.critic]}

    def turn(self, player, batch, handed):
        """The critic sees what the generator has just made, and the images that the encoder has just seen."""
        self.generator.train(self.training and player != "encoder")
        if player == "encoder":
            handed["true"], _ = self.hide(batch)
            return self.score(self.predict(handed["true"]), handed["true"])
        true = handed["true"]
        if player == "generator":
            made = self.generator(self.codes(len(true)))
            handed["made"] = made.detach().float()
            return {"loss": -self.critic(made).float().mean()}
        made = handed["made"]
        penalty = losses.gradient_penalty(true, made, self.critic, self.rng)
        distance = self.critic(true).float().mean() - self.critic(made).float().mean()
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
        """Return the reconstructed normal image, its difference from the image, and the anomaly score."""
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
        """Predictions and images [n, c, size, size] -> anomaly scores of the images [n] (section 3.3 of the paper)."""
        images = views.with_channels(images, self.encoder.channels)
        pixels = 4 * (said - images).square().flatten(1).mean(1)
        features = (self.critic.features(said) - self.critic.features(images)).square().flatten(1).mean(1)
        return pixels + self.features * features
