"""Default choices."""

import pytest
import torch

from withhold import nets
from withhold.methods import find
from withhold.options import Options
from withhold.training import defaults


@pytest.mark.parametrize(
    ("name", "count", "kind", "expected"),
    [
        ("rotation", 50_000, "image", 256),
        ("rotation", 1000, "image", 64),  # ten steps an epoch
        ("rotation", 3, "image", 2),
        ("cyclegan", 50_000, "image", 16),  # a game is learned in small steps
        ("cyclegan", 100, "image", 8),
        ("skipgram", 50_000, "text", 64),
    ],
)
def test_the_batch_follows_the_data_and_the_method(name, count, kind, expected):
    assert defaults.batch_size(find(name), count, kind) == expected


@pytest.mark.parametrize(
    ("items", "expected"), [(256_000, 256), (255_999, 128), (130_000, 128), (100_000, 64), (1000, 64), (0, 64)]
)
def test_a_batch_leaves_a_thousand_steps_where_the_time_holds_them(items, expected):
    assert defaults.batch_size(find("rotation"), 50_000, "image", items) == expected


def test_time_makes_no_small_batch_smaller():
    assert defaults.batch_size(find("cyclegan"), 50_000, "image", 0) == 16


def test_enough_is_a_thousand_steps_or_twenty_passes():
    assert defaults.enough(1000, 1) and defaults.enough(10, 20)
    assert not defaults.enough(999, 19.9)


def test_a_cpu_does_not_convolve_in_space_and_time_at_half_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    names = ("resnet18", "conv3d", "convnet", "efficientnet-lite0")
    wide, clips, narrow, depthwise = (nets.build(name, size=32, channels=3) for name in names)
    assert defaults.precisions(torch.device("cpu"), wide) == ["bf16-mixed", "32-true"]
    assert defaults.precisions(torch.device("cpu"), clips) == ["32-true"]
    assert defaults.precisions(torch.device("cpu"), narrow) == ["32-true", "bf16-mixed"]
    assert defaults.precision(torch.device("cpu"), depthwise) == "32-true"
    assert defaults.precision(torch.device("cpu"), wide) == "bf16-mixed"
    assert defaults.precision(torch.device("cpu"), narrow) == "32-true"


@pytest.mark.parametrize(
    ("measured", "device", "pretrained", "expected"),
    [(32, "cpu", 224, 128), (500, "cpu", 224, 128), (32, "cpu", 96, 96), (32, "cuda", 224, 224), (32, "cpu", 0, 32)],
)
def test_pretrained_weights_see_about_the_size_that_they_were_trained_on(measured, device, pretrained, expected):
    assert defaults.size(measured, torch.device(device), pretrained) == expected


def test_the_words_of_options_give_the_same_options():
    found = Options(lr=0.12345678, epochs=1234567.5, minutes=None).words()
    assert found == ["--epochs", "1234567.5", "--lr", "0.12345678"] and Options(minutes=10.0).words() == [
        "--minutes",
        "10",
    ]
