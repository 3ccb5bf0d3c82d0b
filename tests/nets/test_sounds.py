"""Encoders of sounds, and of images and sounds."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from withhold import data, nets, views
from withhold.errors import UsageError
from withhold.nets.statistics import refresh_statistics

RATE = 8000


def sounds(n, seconds=1.0, seed=0):
    return 0.1 * torch.randn(n, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def images(n, seed=0):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def hearing():
    torch.manual_seed(0)
    return nets.build("audio-cnn", rate=RATE).eval()


@pytest.fixture
def both():
    torch.manual_seed(0)
    encoder = nets.build("audiovisual", size=32, channels=3, rate=RATE)
    refresh_statistics(encoder, [(images(64)[:, None], sounds(64))])
    return encoder.eval()


def test_features_of_sounds_are_the_mean_of_the_map(hearing):
    x = sounds(3)
    with torch.no_grad():
        maps, features = hearing.maps(x), hearing(x)
    assert maps.shape == (3, hearing.dim, hearing.grid, 13)  # 40 bands and 101 hops by 8
    assert (hearing.kind, hearing.default, hearing.grid) == ("audio", "audio-cnn", 5)
    torch.testing.assert_close(features, maps.mean((2, 3)))
    assert (features[0] - features[1]).abs().max() > 1e-4


def test_it_sees_log_mel_values_about_zero_which_a_method_can_mask(hearing):
    x = sounds(3)
    spectrograms = hearing.normalize(x)
    torch.testing.assert_close(hearing.denormalize(spectrograms), views.log_mel(x, RATE))
    assert spectrograms.abs().max() < 3
    with torch.no_grad():
        torch.testing.assert_close(hearing(spectrograms), hearing(x))
        masked = views.mask_bands(spectrograms, torch.Generator(), 0.5, 0.5)
        assert (hearing(masked) - hearing(x)).abs().max() > 1e-3


def test_any_length_of_sound_passes_and_a_single_one_is_named(hearing):
    with torch.no_grad():
        assert hearing(sounds(2, 0.3)).shape == (2, 256)
    with pytest.raises(ValueError, match=r"\[n, samples\], not \[8000\]\. Pass a single one as sound\[None\]"):
        hearing(sounds(1)[0])


@pytest.mark.parametrize("name", ["audio-cnn", "audiovisual"])
def test_sounds_of_another_rate_are_refused_and_not_misheard(name):
    encoder = nets.build(name, **{key: value for key, value in inputs().items() if key in nets.takes(name)})
    heard = data.load({"array": [np.arange(9000, dtype=np.int16)], "sampling_rate": 16_000}, "audio")
    with pytest.raises(UsageError, match=r"read at 16,000 samples a second, but the encoder takes 8,000\. Read it "):
        nets.features(encoder, heard)
    heard = data.load({"array": [np.arange(9000, dtype=np.int16)], "sampling_rate": 16_000}, "audio", rate=RATE)
    assert nets.features(encoder, heard).shape == (1, encoder.dim)


@pytest.mark.parametrize("name", ["audio-cnn", "audiovisual"])
def test_every_parameter_gets_a_gradient(name):
    encoder = nets.build(name, **{key: value for key, value in inputs().items() if key in nets.takes(name)})
    out = encoder(sounds(4) if name == "audio-cnn" else (images(4), sounds(4)))
    (out * torch.randn(4, encoder.dim)).sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


def inputs():
    return {"size": 32, "channels": 3, "rate": RATE}


def test_one_space_for_pictures_clips_sounds_and_pairs(both):
    x, heard = images(4), sounds(4)
    with torch.no_grad():
        seen, clip, sound, pair = both(x), both(torch.stack([x, x.flip(0)], 1)), both(heard), both((x[:, None], heard))
    for found in (seen, clip, sound, pair):
        assert found.shape == (4, both.dim)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(clip, F.normalize(seen + seen.flip(0), dim=1))
    torch.testing.assert_close(pair, F.normalize(seen + sound, dim=1))


def test_sight_is_the_projection_of_each_features_strongest_place(both):
    x = images(2)
    with torch.no_grad():
        maps = both.sight.maps(x)
        by_hand = both.see(torch.stack([m.flatten(1).max(1).values for m in maps]))
        torch.testing.assert_close(both.seen(x), by_hand)
        places = both.places(x)
        assert places.shape == (2, both.dim, 4, 4)
        torch.testing.assert_close(places[1, :, 2, 3], both.see(maps[1, :, 2, 3]))


def test_pictures_do_not_change_what_is_heard(both):
    heard = sounds(2).requires_grad_()
    both(heard).sum().backward()
    assert heard.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in both.sight.parameters())
