"""Spectrograms agree with scipy and with their formulas; masks, gain, shift and mixing behave as documented."""

import math

import numpy as np
import pytest
import torch
from scipy import signal

from withhold import views
from withhold.views.sounds import FLOOR, mel_filters


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n, length, seed=0):
    return 0.3 * torch.randn(n, length, generator=rng(seed)).clamp(-3, 3)


def mel(hertz):
    return 2595 * math.log10(1 + hertz / 700)


@pytest.mark.parametrize(("rate", "size"), [(8000, 256), (16_000, 512), (11_025, 512)])
def test_filters_are_triangles_that_meet(rate, size):
    filters = mel_filters(rate, size, 40, torch.device("cpu")).numpy()
    corners = [700 * (10 ** (mel(rate / 2) * i / 41 / 2595) - 1) for i in range(42)]
    for band in range(40):
        for place in range(size // 2 + 1):
            hertz = place * rate / size
            low, middle, high = corners[band : band + 3]
            rise, fall = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
            assert filters[band, place] == pytest.approx(max(0, min(rise, fall)), abs=1e-5)
    assert (filters.sum(1) > 0).all(), "no band is empty"
    between = (np.arange(size // 2 + 1) * rate / size > corners[1]) & (
        np.arange(size // 2 + 1) * rate / size < corners[40]
    )
    assert filters[:, between].sum(0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("rate", "window", "hop", "size"), [(8000, 200, 80, 256), (16_000, 400, 160, 512)])
def test_log_mel_is_what_scipy_makes_of_each_sound(rate, window, hop, size):
    sounds = noise(3, rate // 2)
    found = views.log_mel(sounds, rate)
    assert found.shape == (3, 1, 40, 51)
    filters = mel_filters(rate, size, 40, torch.device("cpu")).double().numpy()
    for sound, spectrogram in zip(sounds.double().numpy(), found[:, 0].numpy(), strict=True):
        spectra = signal.stft(sound, rate, "hann", window, window - hop, size, boundary="zeros", padded=True)[2]
        power = 4 * np.abs(spectra[:, :51]) ** 2  # scipy divides by the window's sum; a sine has half of it on a side
        assert spectrogram == pytest.approx(np.log(filters @ power + FLOOR), abs=2e-4)


def test_a_loud_sine_has_power_one_and_silence_the_floor():
    rate = 16_000
    middle = 700 * (10 ** (mel(rate / 2) * 20 / 41 / 2595) - 1)  # of the 20th band
    nearest = round(middle * 512 / rate) * rate / 512
    sine = torch.sin(2 * math.pi * nearest * torch.arange(rate) / rate)
    found = views.log_mel(torch.stack([sine, 0 * sine]), rate)[:, 0]
    assert found[0, :, 50].argmax() == 19
    assert found[0, :, 50].max() == pytest.approx(0.33, abs=0.33)  # a window blurs it over 1.9 places
    assert found[1].unique().tolist() == pytest.approx([math.log(FLOOR)])
    drawn = views.draw_log_mel(found[:, None])
    assert drawn[0, 0, 40 - 20, 50] > 0.98  # low tones lie below
    assert (drawn[1] == 0).all()


def test_twice_as_loud_is_six_decibels_more_whatever_the_autocast():
    sounds = noise(2, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        soft, loud = views.log_mel(sounds / 2, 8000), views.log_mel(sounds, 8000)
    assert (loud - soft).numpy() == pytest.approx(math.log(4), abs=1e-3)


def test_masks_hide_one_band_and_one_span_of_random_width():
    whole = torch.ones(2000, 1, 20, 50)
    masked = views.mask_bands(whole, rng(), 0.4, 0.2)[:, 0]
    rows, columns = (masked == 0).all(2), (masked == 0).all(1)
    for hidden, most in ((rows, 8), (columns, 10)):
        counts = hidden.sum(1)
        assert counts.max() == most
        assert counts.float().mean() == pytest.approx(most / 2, rel=0.05)
        edges = hidden.int().diff(dim=1).abs().sum(1) + hidden[:, 0].int() + hidden[:, -1].int()
        assert set(edges.tolist()) <= {0, 2}, "it is one span"
        assert hidden.any(0).all(), "it may lie anywhere"
    assert torch.equal(masked == 0, rows[:, :, None] | columns[:, None, :])
    assert torch.equal(views.mask_bands(whole, rng(), 0.0, 0.0), whole)


def test_gain_is_uniform_in_decibels_and_cuts_off():
    sounds = torch.full((4000, 2), 0.1)
    sounds[:, 1] = -0.9
    found = views.gain(sounds, rng(), 6.0)
    decibels = 20 * (found[:, 0] / 0.1).log10()
    assert decibels.min() == pytest.approx(-6, abs=0.02)
    assert decibels.max() == pytest.approx(6, abs=0.02)
    assert decibels.std() == pytest.approx(12 / math.sqrt(12), rel=0.05)
    assert found.min() == -1


def test_a_shift_moves_each_sound_and_brings_in_silence():
    sounds = torch.arange(1.0, 101).repeat(3000, 1)
    found = views.time_shift(sounds, rng(), 0.2)
    moved = set()
    for sound in found[:300]:
        inside = sound.nonzero().flatten()
        by = int(inside[0] - (sound[inside[0]] - 1))
        moved.add(by)
        assert torch.equal(sound, torch.arange(1.0, 101).roll(by).where(sound != 0, 0))
        assert len(inside) == 100 - abs(by)
    assert min(moved) == -20
    assert max(moved) == 20
