"""Encoders of sounds."""

import torch
from torch import Tensor

from withhold import views
from withhold.nets.convnet import blocks
from withhold.nets.encoder import Layered, PixelEncoder
from withhold.nets.registry import register

MEAN, DEVIATION = -13.0, 4.0
"""Of log-mel values: between those of spoken digits, of the ESC-10 sounds and of talking people, which lie within 0.8.

Constants, so that a spectrogram says the same in training, in evaluation and in a batch of one; the batch normalisation
behind the first convolution does the rest.
"""


class AudioEncoder(PixelEncoder):
    """Sounds float [n, s] in [-1, 1] -> features [n, dim], by way of their spectrograms, which are images.

    A subclass sets itself up with `super().__init__(dim, rate, stride)` and defines `encode` on spectrograms
    [n, 1, bands, t]. Spectrograms that `normalize` made are taken as well, so that a method can mask them in between.

    Args:
        rate: samples a second.
        stride: bands, and hops of 10 ms, per cell of the feature map.
        bands: of a spectrogram, its height.
        window: seconds that a column of it is made of; many bands need long ones to tell low tones apart.
    """

    kind = "audio"
    default = "audio-cnn"

    def __init__(self, dim: int, rate: int, stride: int, bands: int = 40, window: float = 0.025):
        super().__init__(dim, channels=1, size=bands, stride=stride, mean=MEAN, std=DEVIATION)
        self.rate, self.window = rate, window

    def prepared(self):
        """The bands of a log-mel spectrogram, the seconds of its windows, the mean and the deviation of its values."""
        return {"bands": self.size, "window": self.window} | super().prepared()

    def light_view(self, items, rng, flip=0.0):
        """Sounds int16 [n, s], louder or softer, earlier or later -> spectrograms with masked bands and times."""
        return views.mask_bands(self.normalize(sway(items, rng)), rng, 0.2, 0.2)

    def draw(self, items):
        return views.draw_log_mel(self.denormalize(self.normalize(items)))

    def normalize(self, sounds: Tensor) -> Tensor:
        """Sounds float [n, s] in [-1, 1] -> standardised log-mel spectrograms [n, 1, bands, t]; these stay as they are.

        `denormalize` gives what `views.log_mel` had made; zero is the mean.
        """
        if sounds.ndim == 4:
            return sounds
        if sounds.ndim != 2:
            raise ValueError(
                f"an encoder of sounds takes [n, samples], not {list(sounds.shape)}: give a single one as sound[None]."
            )
        return (views.log_mel(sounds, self.rate, self.size, self.window) - self.mean) / self.std


def sway(sounds: Tensor, rng: torch.Generator) -> Tensor:
    """Sounds int16 [n, s] -> float in [-1, 1], up to 6 decibels louder or softer, up to a tenth earlier or later."""
    return views.time_shift(views.gain(views.to_float(sounds), rng, 6.0), rng, 0.1)


@register(name="audio-cnn")
class AudioCNN(Layered, AudioEncoder):
    """Four 3x3 convolutions with batch normalisation: 256 features from 60 million multiply-adds a second of sound."""

    def __init__(self, rate: int):
        super().__init__(dim=256, rate=rate, stride=8)
        self.blocks = blocks(1)
