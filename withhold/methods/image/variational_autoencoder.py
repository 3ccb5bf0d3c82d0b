"""Variational autoencoder."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold import losses, nets, views
from withhold.methods import Count, ImageEncoder, Method, NonNegative, answers, method
from withhold.nets import Decoder

LOG_VARIANCE = 10.0
"""Bound of the absolute value of the log variance, which prevents overflow."""
DRAWN, STEPS = 16, 8
"""Number of images that are sampled from the prior, and of those in an interpolation between two images."""


@method(paper="Kingma & Welling, ICLR 2014", needs={"images": "image"}, family="reconstruct")
class VariationalAutoencoder(Method):
    """Withholds an image behind a noisy code; predicts it from that code, which follows a normal distribution.

    The loss is the negative evidence lower bound in nats per image: the reconstruction term, summed over the values of
    the image, plus the KL divergence of the code from the prior, summed over its dimensions. Replacing a sum by a mean
    would amount to a weight, with which codes carry no information or depart from the prior. A fixed standard deviation
    of the Gaussian would have the same effect. Here it is the maximum likelihood estimate on the batch, or on each of
    its parts with --accumulate or several devices (sigma-VAE: Rybkin, Daniilidis & Levine, ICML 2021). "active" is the
    number of dimensions of the code that carry information. The networks are convolutional.

    Args:
        code: length of the code.
        likelihood: distribution of a value: "gaussian", with values in steps of 1/255 and one standard deviation for
            all; or "bernoulli", for images that are nearly black and white, such as digits.
        beta: weight of the KL divergence. 1 gives the lower bound. A higher weight gives fewer active dimensions
            (beta-VAE: Higgins et al., ICLR 2017). With 0, codes do not follow the prior, and sampling does not work.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        code: Count = 32,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        beta: NonNegative = 1.0,
    ):
        super().__init__(encoder)
        self.code, self.likelihood, self.beta = code, likelihood, beta
        self.posterior = nn.Linear(encoder.dim, 2 * code)
        self.decoder = nn.Sequential(
            nn.Linear(code, encoder.dim * encoder.grid**2),
            nn.Unflatten(1, (encoder.dim, encoder.grid, encoder.grid)),
            Decoder(encoder.dim, encoder.channels, encoder.grid, encoder.size),
        )

    def withhold(self, images):
        """uint8 [n, c, h, w] -> (the image float [n, c, size, size], the noise of the code [n, code]), the image."""
        view = self.encoder.view(images, self.rng, flip=0)
        return (view, self.noise(len(view))), view

    def predict(self, visible):
        """The decoder's output [n, c, size, size]; the posterior's mean and log variance [n, code]."""
        view, noise = visible
        mean, log_variance = self.encode(view)
        return self.decoder(mean + (log_variance / 2).exp() * noise), mean, log_variance

    def loss(self, predicted, view):
        """Equation 10 of the paper, with one sample of the noise."""
        decoded, mean, log_variance = predicted
        surprise = self.surprise(decoded, view)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        return {
            "loss": surprise + self.beta * divergence,
            "kl": divergence,
            "active": (mean.var(0, correction=0) > 0.01).float().sum(),
            "psnr": losses.psnr(losses.squared_error(self.paint(decoded), view)),
            "trivial": self.trivial(view),
        }

    def finish(self, plain):
        super().finish(plain)
        nets.refresh_statistics(self.decoder, plain(), lambda images: self.predict(self.hide({"images": images})[0]))

    def apply_to(self, image, other: answers.Image | None = None):
        """The reconstructed image, and samples from the prior; with another image, also an interpolation to it."""
        view = self.encoder.take(image)
        code, _ = self.encode(view)
        shown = {"seen": view, "reconstructed": self.draw(code), "samples": board(self.draw(self.noise(DRAWN)), 4)}
        if other is not None:
            end, _ = self.encode(self.encoder.take(other.pixels))
            way = torch.linspace(0, 1, STEPS, device=code.device)[:, None]
            shown["walk"] = board(self.draw(torch.lerp(code, end, way)), STEPS)
        return {name: answers.Image(images[0]) for name, images in shown.items()}

    def picture(self, visible, view, predicted=None):
        columns = {"seen": view}
        if predicted is not None:
            columns["said"] = self.paint(predicted[0].float()).clamp(0, 1)
            columns["drawn"] = self.draw(self.noise(len(view))).float().clamp(0, 1)
        return columns

    def noise(self, n: int) -> Tensor:
        """Samples from the prior, float [n, code]."""
        return torch.randn(n, self.code, generator=self.rng, device=self.rng.device)

    def encode(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Images float [n, c, h, w] -> the posterior's mean and log variance, [n, code] each."""
        mean, log_variance = self.posterior(self.encoder(view)).chunk(2, 1)
        return mean, log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)

    def draw(self, code: Tensor) -> Tensor:
        """Codes [n, code] -> decoded images, float [n, c, size, size]."""
        return self.paint(self.decoder(code))

    def paint(self, decoded: Tensor) -> Tensor:
        """The decoder's output -> the mean of each value."""
        return decoded.sigmoid() if self.likelihood == "bernoulli" else self.encoder.denormalize(decoded)

    def surprise(self, decoded: Tensor, view: Tensor) -> Tensor:
        """The mean of -log p(image | code) over images, from the decoder's output and the images, both [n, c, h, w]."""
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(decoded, view, reduction="sum") / len(view)
        return gaussian(self.paint(decoded), view)

    def trivial(self, view: Tensor) -> Tensor:
        """The loss of a predictor that knows only the mean of every value, and uses no code."""
        mean = view.mean(0)
        if self.likelihood == "bernoulli":
            return (torch.special.entr(mean) + torch.special.entr(1 - mean)).sum()
        return gaussian(mean, view)


def gaussian(mean: Tensor, images: Tensor) -> Tensor:
    """-log of a normal density in steps of 1/255, with the most likely standard deviation; summed over an image."""
    error = losses.squared_error(mean, images).clamp(min=1e-12)
    return images[0].numel() * (math.log(255) + (math.log(2 * math.pi * math.e) + error.log()) / 2)


def board(images: Tensor, columns: int) -> Tensor:
    """Images [n, c, h, w] -> a single image that shows them row by row [1, c, h', w']."""
    return views.board(images[None], columns)
