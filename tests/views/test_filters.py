import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter1d

from withhold import views
from withhold.views.filters import blur_weights
from withhold.views.geometry import reflect


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [7, 32, 100])
def test_blur_weights_are_scipys_gaussian_with_mirrored_edges(size):
    sigma = torch.tensor([0.0, 0.1, 0.7, 2.0])
    signals = torch.rand(4, size, generator=rng())
    radius = size // 20
    weights = blur_weights(sigma, size, radius)
    around = signals[:, reflect(torch.arange(-radius, size + radius), size)]
    blurred = torch.einsum("nil,nl->ni", weights, around)
    assert torch.equal(blurred[0], signals[0])
    for i in range(1, 4):
        expected = gaussian_filter1d(signals[i].double().numpy(), sigma[i].item(), mode="mirror", radius=radius)
        torch.testing.assert_close(blurred[i].double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_solarize_inverts_the_bright_half():
    images = torch.rand(1000, 1, 4, 4, generator=rng())
    inverted = views.solarize(images, rng())
    assert torch.equal(inverted, torch.where(images >= 0.5, 1 - images, images))
    some = (views.solarize(images, rng(), 0.3) != images).flatten(1).any(1)
    assert stats.binomtest(int(some.sum()), 1000, 0.3).pvalue > 1e-3


def test_noise_is_gaussian_and_clamped():
    grey = torch.full((50, 1, 20, 20), 0.5)
    added = (views.noise(grey, rng(), 0.05) - grey).flatten()
    assert stats.kstest(added, "norm", (0, 0.05)).pvalue > 1e-3
    noisy = views.noise(grey, rng(), 2.0)
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_erase_leaves_one_rectangle_in_some_images():
    images = torch.ones(500, 3, 40, 40)
    erased = views.erase(images, rng(), 0.5, area=(0.1, 0.2), aspect=(0.5, 2.0), value=0.25)
    holes = erased[:, 0] == 0.25
    assert torch.equal(erased, torch.where(holes[:, None], 0.25, images))
    hit = holes.flatten(1).any(1)
    assert stats.binomtest(int(hit.sum()), 500, 0.5).pvalue > 1e-3
    for hole in holes[hit]:
        tall, wide = hole.any(1).sum(), hole.any(0).sum()
        assert hole.sum() == tall * wide
        assert 0.08 <= tall * wide / 1600 <= 0.22
