"""Encoders of sounds."""

import torch
from torch import Tensor

from withhold import views
from withhold.nets.convnet import blocks
from withhold.nets.encoder import Layered, PixelEncoder
from withhold.nets.registry import register

MEAN, DEVIATION = -13.0, 4.0
"""Normalisation of log-mel values. They lie between those of spoken digits, ESC-10 and talking people, which differ by
at most 0.8.

They are constants, so that a spectrogram is normalised in the same way in training, in evaluation and in a batch of
one; the batch normalisation after the first convolution adapts the scale.
"""


class AudioEncoder(PixelEncoder):
    """Sounds float [n, s] in [-1, 1] -> features [n, dim], from their log-mel spectrograms.

    A subclass calls `super().__init__(dim, rate, stride)` and defines `encode` on spectrograms [n, 1, bands, t].
    Normalised spectrograms are also accepted as input, so that a method can mask them.

    Args:
        rate: samples per second.
        stride: bands, and hops of 10 ms, per cell of the feature map.
        bands: mel bands, the height of a spectrogram.
        window: length of an FFT window in seconds; many bands need longer windows to separate low tones.
    """

    kind = "audio"
    default = "audio-cnn"

    def __init__(self, dim: int, rate: int, stride: int, bands: int = 40, window: float = 0.025):
        super().__init__(dim, channels=1, size=bands, stride=stride, mean=MEAN, std=DEVIATION)
        self.rate, self.window = rate, window

    def prepared(self):
        """The bands and the window in seconds of the log-mel spectrogram, and the mean and deviation of its values."""
        return {"bands": self.size, "window": self.window} | super().prepared()

    def light_view(self, items, rng, flip=0.0):
        """Sounds int16 [n, s] with random gain and time shift -> spectrograms with masked bands and times."""
        return views.mask_bands(self.normalize(sway(items, rng)), rng, 0.2, 0.2)

    def draw(self, items):
        return views.draw_log_mel(self.denormalize(self.normalize(items)))

    def normalize(self, sounds: Tensor) -> Tensor:
        """Sounds float [n, s] in [-1, 1] -> normalised log-mel spectrograms [n, 1, bands, t]; these are kept as given.

        `denormalize` restores the output of `views.log_mel`; zero is the mean.
        """
        if sounds.ndim == 4:
            return sounds
        if sounds.ndim != 2:
            raise ValueError(
                f"An encoder of sounds takes [n, samples], not {list(sounds.shape)}. Pass a single one as sound[None]."
            )
        return (views.log_mel(sounds, self.rate, self.size, self.window) - self.mean) / self.std


def sway(sounds: Tensor, rng: torch.Generator) -> Tensor:
    """Sounds int16 [n, s] -> float in [-1, 1], up to 6 dB louder or softer, shifted by up to a tenth of the length."""
    return views.time_shift(views.gain(views.to_float(sounds), rng, 6.0), rng, 0.1)


@register(name="audio-cnn")
class AudioCNN(Layered, AudioEncoder):
    """Four 3x3 convolutions with batch normalisation: 256 features; 60 million multiply-adds per second of sound."""

    def __init__(self, rate: int):
        super().__init__(dim=256, rate=rate, stride=8)
        self.blocks = blocks(1)
