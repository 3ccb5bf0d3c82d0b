import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter, gaussian_filter1d, sobel

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


def gradient(image):
    """SciPy's Sobel gradient, per pixel, of an image [h, w] blurred by one pixel: along y, along x."""
    smooth = gaussian_filter(image, 1.0, mode="nearest", radius=3)
    return [sobel(smooth, axis, mode="nearest") / 8 for axis in (0, 1)]


def test_edges_are_scipys_sobel_after_its_gaussian():
    images = torch.rand(2, 1, 19, 24, generator=rng(), dtype=torch.float64)
    for found, (image,) in zip(views.edges(images), images.numpy(), strict=True):
        torch.testing.assert_close(found[0], torch.from_numpy(np.hypot(*gradient(image))), atol=1e-6, rtol=0)


def test_corners_are_the_smaller_eigenvalue_of_the_structure_tensor():
    images = torch.rand(2, 1, 12, 15, generator=rng(), dtype=torch.float64)
    for found, (image,) in zip(views.corners(images), images.numpy(), strict=True):
        slopes = gradient(image)
        tensor = [[gaussian_filter(a * b, 1.0, mode="nearest", radius=3) for a in slopes] for b in slopes]
        smaller = np.linalg.eigvalsh(np.array(tensor).transpose(2, 3, 0, 1))[..., 0]
        torch.testing.assert_close(found[0], torch.from_numpy(np.sqrt(smaller.clip(0))), atol=1e-6, rtol=0)


def test_a_square_has_edges_along_its_sides_and_corners_where_they_meet():
    square = torch.zeros(1, 3, 32, 32)
    square[..., 8:24, 8:24] = 1.0
    edges, corners = views.edges(square)[0, 0], views.corners(square)[0, 0]
    assert edges[8, 16] > 10 * edges[16, 16] and corners[8, 16] < 0.1 * corners.max()
    place = corners.argmax().item()
    assert abs(place // 32 % 15 - 8) <= 1 and abs(place % 32 % 15 - 8) <= 1
