"""SIGReg against its integral, and against numbers computed independently."""

import math

import numpy as np
import pytest
import torch

from withhold import losses


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def sigreg(z, slices=256, **options):
    return losses.sigreg(z, torch.Generator().manual_seed(1), slices=slices, **options).item()


@pytest.mark.parametrize("n", [64, 256, 1024])
def test_known_values(n):
    noise = draw(n, 16)
    assert 0.8 < sigreg(noise) < 1.3
    assert sigreg(torch.zeros(n, 16)) == pytest.approx(0.402 * n, rel=2e-3)
    assert sigreg(3 * noise) == pytest.approx(0.52 * n, rel=0.1)
    assert sigreg(0.5 * noise) == pytest.approx(0.16 * n, rel=0.1)


def test_it_is_the_weighted_integral_of_the_squared_distance():
    """In one dimension there is one direction; the integral over [-3, 3] is then a fine Riemann sum."""
    z = draw(32, 1) * 1.7 + 0.3
    t = np.linspace(-3, 3, 20001)
    empirical = np.exp(1j * t[:, None] * z.double().numpy()[:, 0]).mean(1)
    inside = np.abs(empirical - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
    assert sigreg(z, slices=8) == pytest.approx(32 * np.trapezoid(inside, t), rel=1e-2)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_its_mean_over_noise(scale):
    found = np.mean([sigreg(scale * draw(40, 8, seed), slices=64) for seed in range(60)])
    expected = losses.sigreg_of_noise(torch.tensor(scale), 40).item()
    assert found == pytest.approx(expected, rel=0.05)
    if scale == 1:
        assert expected == pytest.approx(1.05, abs=0.01)


def test_descending_it_widens_what_has_collapsed():
    z = torch.nn.Parameter(draw(256, 4) @ torch.diag(torch.tensor([1.0, 0.5, 0.3, 0.1])) + 0.5)
    optimizer = torch.optim.Adam([z], 0.05)
    rng = torch.Generator().manual_seed(0)
    for _ in range(300):
        optimizer.zero_grad()
        losses.sigreg(z, rng, slices=64).backward()
        optimizer.step()
    assert z.mean(0).abs().max() < 0.15
    assert torch.cov(z.detach().T).sub(torch.eye(4)).abs().max() < 0.25


def test_all_directions_count_alike():
    """Directions are uniform on the sphere: rotating the embeddings changes the mean value only by noise."""
    z = draw(128, 6) * torch.tensor([3.0, 1, 1, 1, 1, 1])
    angle = math.pi / 4
    turn = torch.eye(6)
    turn[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    assert sigreg(z, slices=20000) == pytest.approx(sigreg(z @ turn, slices=20000), rel=0.03)
