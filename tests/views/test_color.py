import colorsys
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from withhold import views
from withhold.views.color import color_matrices, draw_jitter, lightness, luma
from withhold.views.random import chance

GREY = np.array([0.299, 0.587, 0.114])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def brighten(image, factor):
    return image * factor


def contrast(image, factor):
    return factor * image + (1 - factor) * (image @ GREY).mean()


def saturate(image, factor):
    return factor * image + (1 - factor) * (image @ GREY)[..., None]


def turn_hue(image, turns):
    """Rotate the chroma (I, Q) of every pixel, in the direction from red to yellow, and keep its luma."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    y, i, q = np.moveaxis(image @ to_yiq.T, -1, 0)
    chroma = (i + 1j * q) * np.exp(-2j * np.pi * turns)
    return np.stack([y, chroma.real, chroma.imag], -1) @ np.linalg.inv(to_yiq).T


CHAIN = [brighten, contrast, saturate, turn_hue]


def test_the_fused_jitter_is_the_chain_in_whatever_order():
    n, widths = 24, (0.2, 0.2, 0.3, 0.1)
    images = 0.4 + 0.2 * torch.rand(n, 3, 9, 7, generator=rng(1))  # far enough from 0 and 1 that nothing is clamped
    fused = views.augment(images, rng(2), flip=0, jitter=widths, jitter_probability=1)
    random = rng(2)
    chance(n, 0, random)  # the flips come first
    factors = [factor.double().numpy() for factor in draw_jitter(n, widths, 1, random)]
    orders = list(itertools.permutations(range(4)))
    for i in range(n):
        image = images[i].permute(1, 2, 0).double().numpy()
        for step in orders[i]:
            image = CHAIN[step](image, factors[step][i])
        np.testing.assert_allclose(fused[i].permute(1, 2, 0).numpy(), image, atol=2e-6)


def test_jitter_is_distributed_as_torchvisions():
    n = 20_000
    drawn = draw_jitter(n, (0.4, 1.5, 0.2, 0.1), 0.8, rng())
    changed = drawn[0] != 1
    assert stats.binomtest(int(changed.sum()), n, 0.8).pvalue > 1e-3
    for values, low, high in zip(drawn, (0.6, 0.0, 0.8, -0.1), (1.4, 2.5, 1.2, 0.1), strict=True):
        assert stats.kstest(values[changed], "uniform", (low, high - low)).pvalue > 1e-3
    assert all((values[~changed] == neutral).all() for values, neutral in zip(drawn, (1, 1, 1, 0), strict=True))
    assert np.abs(np.corrcoef(torch.stack(drawn)[:, changed])[np.triu_indices(4, 1)]).max() < 0.03


def test_hue_turns_the_way_of_hsv():
    random = np.random.default_rng(0)
    errors = []
    for shift in (-0.1, 0.05, 0.1):
        matrix = color_matrices(torch.ones(1), torch.ones(1), torch.tensor([shift]), 3)[0].double().numpy()
        for hue in random.uniform(size=60):
            turned = matrix @ np.array(colorsys.hsv_to_rgb(hue, 0.3, 0.6))
            moved = colorsys.rgb_to_hsv(*turned)[0] - hue
            errors.append((moved - shift + 0.5) % 1 - 0.5)
    assert np.abs(np.mean(errors)) < 0.01  # turns
    assert np.abs(errors).max() < 0.06


def test_grey_views_are_the_luma_and_as_frequent_as_asked():
    images = torch.rand(2000, 3, 4, 4, generator=rng())
    seen = views.augment(images, rng(), flip=0, grey=0.2)
    grey = (seen[:, :1] - seen).abs().amax((1, 2, 3)) < 1e-6
    assert stats.binomtest(int(grey.sum()), 2000, 0.2).pvalue > 1e-3
    torch.testing.assert_close(seen[~grey], images[~grey], atol=1e-6, rtol=0)
    torch.testing.assert_close(seen[grey, 0], luma(images[grey]), atol=1e-6, rtol=0)


# Lindbloom's calculator, sRGB to Lab under D65 without adaptation.
LAB = {
    (1, 1, 1): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (1, 0, 0): (53.2408, 80.0925, 67.2032),
    (0, 1, 0): (87.7347, -86.1827, 83.1793),
    (0, 0, 1): (32.2970, 79.1875, -107.8602),
    (0.5, 0.5, 0.5): (53.3890, 0, 0),
}


@pytest.mark.parametrize(("rgb", "lab"), LAB.items())
def test_lab_of_known_colours(rgb, lab):
    ours = views.rgb_to_lab(torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1)).flatten()
    assert ours.tolist() == pytest.approx(lab, abs=0.02)


def test_lab_and_back_is_the_same_colour():
    images = torch.rand(4, 3, 16, 16, generator=rng())
    images[0] /= 30  # the linear part of both curves
    torch.testing.assert_close(views.lab_to_rgb(views.rgb_to_lab(images)), images, atol=2e-5, rtol=0)
    wild = torch.tensor([50.0, 120.0, -120.0]).view(1, 3, 1, 1)
    assert (views.lab_to_rgb(wild) >= 0).all()
    assert (views.lab_to_rgb(wild) <= 1).all()


def test_lightness_is_labs_and_its_gradient_is_finite_everywhere():
    images = torch.rand(4, 3, 8, 8, generator=rng())
    torch.testing.assert_close(lightness(images), views.rgb_to_lab(images)[:, :1] / 100)
    dark = torch.tensor([0.0, 0.04045, 1.0]).view(3, 1, 1, 1).repeat(1, 3, 2, 2).requires_grad_()
    lightness(dark).sum().backward()
    assert dark.grad.isfinite().all()


def test_grey_is_pillows():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found = views.to_grey(torch.from_numpy(pixels).permute(2, 0, 1))
    assert (found[0].numpy() == np.asarray(Image.fromarray(pixels).convert("L"))).all()


def test_channels_are_converted_both_ways():
    color, grey = torch.rand(2, 3, 4, 4, generator=rng()), torch.rand(2, 1, 4, 4, generator=rng())
    assert views.with_channels(color, 3) is color
    assert torch.equal(views.with_channels(color, 1), views.lightness(color))
    assert torch.equal(views.with_channels(grey, 3), torch.cat([grey] * 3, 1))


def test_bytes_and_floats_become_the_same_floats():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = views.to_float(images)
    assert floats.dtype == torch.float32
    assert torch.equal(floats, images.double().div(255).float())
    assert torch.equal(views.to_float(floats), floats)
    assert views.to_float(torch.zeros(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
