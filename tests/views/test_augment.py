import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from withhold import views
from withhold.views.color import draw_jitter
from withhold.views.geometry import draw_crops
from withhold.views.random import chance, uniform

SIMCLR = {"crop": (0.08, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "grey": 0.2, "blur": 0.5, "solarize": 0.2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def photo_batch(photos, n=64):
    return torch.from_numpy(photos[:n]).permute(0, 3, 1, 2)


def test_the_seed_decides_and_samples_differ(photos):
    images = photo_batch(photos, 1).expand(20, -1, -1, -1)
    first = views.augment(images, rng(), **SIMCLR)
    assert torch.equal(first, views.augment(images, rng(), **SIMCLR))
    assert not torch.equal(first, views.augment(images, rng(1), **SIMCLR))
    assert len({view.numpy().tobytes() for view in first}) == 20


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 24, 64])
def test_views_are_floats_between_0_and_1_in_channels_last(photos, channels, size):
    images = photo_batch(photos)[:, :channels, :30]
    seen = views.augment(images, rng(), size=size, **SIMCLR)
    assert seen.shape == (64, channels, size or 30, size or 32)
    assert seen.dtype == torch.float32
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_without_changes_a_view_is_the_image(photos):
    images = photo_batch(photos)
    torch.testing.assert_close(views.augment(images, rng(), flip=0), views.to_float(images))
    torch.testing.assert_close(views.augment(images, rng(), flip=1), views.to_float(images.flip(3)))


def test_a_view_of_the_same_size_without_a_crop_keeps_every_pixel(photos):
    images = photo_batch(photos)
    floats = views.to_float(images)
    before = floats.clone()
    tinted = {"jitter": (0.4, 0.4, 0.4, 0.1), "grey": 0.2}
    for given in (images, floats):
        resampled = views.augment(given, rng(), blur=1e-9, **tinted)  # which no view draws
        torch.testing.assert_close(views.augment(given, rng(), **tinted), resampled, atol=1e-6, rtol=0)
    assert torch.equal(floats, before)


def test_bytes_and_floats_of_an_image_give_the_same_views(photos):
    images = photo_batch(photos)
    seen = views.augment(images, rng(), **SIMCLR | {"solarize": 0})
    torch.testing.assert_close(seen, views.augment(images / 255, rng(), **SIMCLR | {"solarize": 0}), atol=2e-6, rtol=0)


def test_a_grey_image_is_treated_as_one_with_equal_channels(photos):
    grey = photo_batch(photos)[:, :1]
    one, three = (views.augment(grey.expand(-1, c, -1, -1), rng(), **SIMCLR | {"solarize": 0}) for c in (1, 3))
    torch.testing.assert_close(one.expand(-1, 3, -1, -1), three, atol=2e-6, rtol=0)


def test_how_a_batch_is_cut_and_autocast_change_nothing(photos, monkeypatch):
    images = photo_batch(photos)
    whole = views.augment(images, rng(), **SIMCLR)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(views.augment(images, rng(), **SIMCLR), whole)
    monkeypatch.setattr(sys.modules["withhold.views.augment"], "CACHED", 5 * 3 * 32 * 32)
    torch.testing.assert_close(views.augment(images, rng(), **SIMCLR), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [64, 75, None])
def test_blocks_and_windows_are_one_dense_product(size, monkeypatch):
    images = torch.randint(0, 256, (12, 3, 90, 110), dtype=torch.uint8, generator=rng())
    blocks = views.augment(images, rng(), size=size, **SIMCLR | {"solarize": 0.0})
    monkeypatch.setattr(sys.modules["withhold.views.augment"], "BLOCK", 200)
    dense = views.augment(images, rng(), size=size, **SIMCLR | {"solarize": 0.0})
    torch.testing.assert_close(blocks, dense, atol=1e-6, rtol=0)


def test_a_view_is_the_chain_applied_one_step_after_the_other():
    """Crop, resize, mirror, jitter, blur, with torch's resize and SciPy's blur."""
    n, size, widths = 20, 60, (0.1, 0.1, 0.1, 0.05)
    images = 0.45 + 0.1 * torch.rand(n, 3, 50, 70, generator=rng())  # nothing is clamped
    fused = views.augment(images, rng(1), size=size, crop=(0.3, 1), jitter=widths, jitter_probability=1, blur=1)
    random = rng(1)
    boxes = draw_crops(n, 50, 70, (0.3, 1), (3 / 4, 4 / 3), random)
    mirrored = chance(n, 0.5, random)
    brightness, contrast, saturation, hue = draw_jitter(n, widths, 1, random)
    chance(n, 0, random)
    sigma = uniform(n, 0.1, 2, random)
    for i in range(n):
        top, left, tall, wide = (int(box[i]) for box in boxes)
        view = images[i : i + 1, :, top : top + tall, left : left + wide]
        view = F.interpolate(view, (size, size), mode="bilinear", antialias=True)
        view = view.flip(3) if mirrored[i] else view
        blurred = gaussian_filter(
            view[0].numpy(), (0, sigma[i].item(), sigma[i].item()), mode="mirror", radius=(0, 3, 3)
        )
        gray = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        view = torch.from_numpy(blurred) * brightness[i]
        mean = (view * gray).sum(0).mean()
        view = contrast[i] * view + (1 - contrast[i]) * mean
        luma = (view * gray).sum(0)
        chroma = saturation[i] * turned(view - luma, hue[i])
        torch.testing.assert_close(fused[i], luma + chroma, atol=2e-5, rtol=0)


def turned(chroma, turns):
    """Rotates colours without luma by solving for I and Q."""
    to_iq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    angle = -2 * torch.pi * turns
    rotation = torch.tensor([[1, 0, 0], [0, angle.cos(), -angle.sin()], [0, angle.sin(), angle.cos()]])
    return torch.einsum("ij,jhw->ihw", torch.linalg.solve(to_iq, rotation @ to_iq), chroma)


def moments(seen):
    """Colour statistics of views: means, deviations, chroma, and contrast within and between views."""
    luma = (seen * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    chroma = (seen - luma[:, None]).square().sum(1).sqrt()
    within = luma.flatten(1).std(1)
    step = (luma[:, 1:] - luma[:, :-1]).abs().mean()
    return np.array(
        [*seen.mean((0, 2, 3)), *seen.std((0, 2, 3)), luma.flatten(1).mean(1).std(), within.mean(), chroma.mean(), step]
    )


def test_moments_of_views_are_those_of_kornia(photos):
    augmentation = pytest.importorskip("kornia.augmentation")
    images = photo_batch(photos, 256).repeat(8, 1, 1, 1) / 255
    theirs = torch.nn.Sequential(
        augmentation.RandomResizedCrop((32, 32), scale=(0.08, 1.0), resample="bilinear"),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
    )
    torch.manual_seed(0)
    expected = moments(theirs(images))
    ours = moments(views.augment(images, rng(), **SIMCLR | {"blur": 0, "solarize": 0}))
    np.testing.assert_allclose(ours, expected, rtol=0.06)
