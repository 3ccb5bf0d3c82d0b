"""Image errors against loops and closed forms."""

import math

import pytest
import torch

from withhold import losses


def test_squared_error_is_the_weighted_mean():
    rng = torch.Generator().manual_seed(0)
    said, true = torch.rand(3, 2, 4, 4, generator=rng), torch.rand(3, 2, 4, 4, generator=rng)
    weight = torch.randint(0, 3, (3, 1, 4, 4), generator=rng)
    total = weights = 0.0
    for n in range(3):
        for c in range(2):
            for y in range(4):
                for x in range(4):
                    w = weight[n, 0, y, x].item()
                    total += w * (said[n, c, y, x] - true[n, c, y, x]).item() ** 2
                    weights += w
    assert losses.squared_error(said, true, weight).item() == pytest.approx(total / weights, rel=1e-5)
    assert losses.squared_error(said, true).item() == pytest.approx(((said - true) ** 2).mean().item())
    assert losses.squared_error(said.bfloat16(), true).dtype == torch.float32


@pytest.mark.parametrize(("error", "decibels"), [(1.0, 0.0), (0.01, 20.0), (0.0, 100.0)])
def test_psnr_counts_decibels_below_the_peak(error, decibels):
    assert losses.psnr(torch.tensor(error)).item() == pytest.approx(decibels, abs=1e-4)
    assert math.isclose(losses.psnr(torch.tensor(0.05)).item(), 10 * math.log10(1 / 0.05), rel_tol=1e-5)
