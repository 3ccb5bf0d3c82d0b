"""Sounds: gain, time shift and mixing; spectrograms and their masks."""

import math

import torch
from torch import Tensor

from withhold.views.caching import cached
from withhold.views.precision import precise
from withhold.views.random import uniform

FLOOR = 1e-8
"""Power added before the logarithm: 80 dB below a sine of amplitude 1."""


@cached
def mel_filters(rate: int, size: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters over the frequencies of an FFT of `size` samples: float [mels, size // 2 + 1], with peak 1.

    Their corners are evenly spaced from 0 to rate / 2 on HTK's mel scale, 2595 log10(1 + f / 700). Each filter ends at
    the peaks of its neighbours.
    """
    hertz = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, mels + 2, dtype=torch.float64) / 2595) - 1)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float().to(device)


@precise
def log_mel(sounds: Tensor, rate: int, mels: int = 40, window: float = 0.025) -> Tensor:
    """Log-mel spectrograms: sounds float [n, s] in [-1, 1], `rate` samples per second -> float32 [n, 1, mels, t].

    The spectrograms have t = 1 + s // hop columns.

    Periodic Hann windows of `window` seconds, one every 10 ms, centred, with silence beyond the ends; zero-padded to a
    power of two of samples; |FFT|^2, scaled so that a sine of amplitude 1 has power 1; `mel_filters`; natural logarithm
    after adding `FLOOR`. Values go from -18.4 (silence) to about 0.
    """
    length, hop = max(1, round(window * rate)), max(1, round(0.01 * rate))
    size = 1 << (length - 1).bit_length()
    weights = torch.hann_window(length, device=sounds.device) * (4 / length)  # half their sum becomes 1
    spectra = torch.stft(
        sounds.float(), size, hop, length, weights, center=True, pad_mode="constant", return_complex=True
    )
    power = spectra.real.square() + spectra.imag.square()
    bands = mel_filters(rate, size, mels, sounds.device) @ power
    # log(bands + FLOOR); written with so small a constant, ONNX exporters would leave the addition out.
    return bands.div_(FLOOR).log1p_().add_(math.log(FLOOR))[:, None]


def draw_log_mel(spectrograms: Tensor) -> Tensor:
    """Spectrograms of `log_mel` -> images [n, 1, f, t] in [0, 1]: silence is black, low tones are at the bottom."""
    return (1 - spectrograms / math.log(FLOOR)).clamp(0, 1).flip(2)


def mask_bands(spectrograms: Tensor, rng: torch.Generator, frequencies: float, times: float) -> Tensor:
    """Spectrograms [n, c, f, t] with a random frequency band and a random time span set to zero, drawn for each sample.

    Their widths are uniform from 0 to `frequencies` and `times`, as shares of the axis; their positions are uniform
    (SpecAugment: Park et al., Interspeech 2019, section 2, without time warping and with one mask of each type).
    """
    n, _, height, width = spectrograms.shape
    hidden = _spans(n, height, frequencies, rng)[:, None, :, None] | _spans(n, width, times, rng)[:, None, None, :]
    return spectrograms.masked_fill(hidden, 0.0)


def gain(sounds: Tensor, rng: torch.Generator, decibels: float) -> Tensor:
    """Sounds float [n, s] in [-1, 1], each louder or softer by up to `decibels`, clipped to [-1, 1]."""
    return (sounds * 10 ** (uniform(len(sounds), -decibels, decibels, rng) / 20)[:, None]).clamp(-1, 1)


def time_shift(sounds: Tensor, rng: torch.Generator, share: float) -> Tensor:
    """Sounds [n, s], each shifted earlier or later by up to `share` of its length and padded with silence."""
    length = sounds.shape[1]
    by = uniform(len(sounds), -share * length, share * length, rng).round().long()
    place = torch.arange(length, device=sounds.device) - by[:, None]
    inside = (place >= 0) & (place < length)
    return sounds.gather(1, place.clamp(0, length - 1)) * inside


def _spans(n: int, length: int, share: float, rng: torch.Generator) -> Tensor:
    """bool [n, length], true in one span of up to `share` of the length, at a random place."""
    width = uniform(n, 0, share * length, rng)
    begin = uniform(n, 0, 1, rng) * (length - width)
    middle = torch.arange(length, device=rng.device) + 0.5
    return (middle >= begin[:, None]) & (middle < (begin + width)[:, None])
