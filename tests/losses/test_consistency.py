import math

import pytest
import torch
from scipy import stats

from withhold import losses


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.4, 0.5, 1.0, 3.0])
def test_sharpening_is_a_power_and_a_softmax_at_another_temperature(temperature):
    scores = random(6, 5)
    shares = scores.softmax(1)
    sharp = losses.sharpen(shares, temperature)
    for row, found in zip(shares.tolist(), sharp.tolist(), strict=True):
        powers = [share ** (1 / temperature) for share in row]
        assert found == pytest.approx([power / sum(powers) for power in powers], rel=1e-4)
    torch.testing.assert_close(sharp, (scores / temperature).softmax(1))


def test_sharpening_bears_shares_whose_powers_underflow():
    sharp = losses.sharpen(torch.tensor([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]]), 0.001)
    assert sharp.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_divergence_is_the_relative_entropy_of_every_row():
    target, scores = random(7, 4).softmax(1), random(7, 4, seed=1)
    target[0] = torch.tensor([1.0, 0, 0, 0])
    expected = [stats.entropy(t, p) for t, p in zip(target.numpy(), scores.softmax(1).numpy(), strict=True)]
    assert losses.divergence(target, scores).tolist() == pytest.approx(expected, rel=1e-4)
    assert losses.divergence(scores.softmax(1), scores).abs().max() < 1e-6


@pytest.mark.parametrize(("progress", "exponent"), [(0, -5), (0.1, -3.2), (0.25, -1.25), (0.5, 0), (0.6, 0), (1, 0)])
def test_the_ramp_rises_like_half_a_gaussian_and_stays(progress, exponent):
    assert losses.ramp_up(progress, 0.5) == pytest.approx(math.exp(exponent))
