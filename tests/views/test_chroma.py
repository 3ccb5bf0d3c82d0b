import math

import pytest
import torch

from withhold import views


def test_the_palette_is_the_bins_that_sRGB_reaches():
    """All colours of the RGB cube, at every eighth level, fall into a bin; the faces of the cube reach every bin."""
    palette = {tuple(pair) for pair in views.ab_palette().tolist()}
    assert len(palette) == 261
    level = torch.cat([torch.arange(0, 256, 8), torch.tensor([255])]) / 255
    cube = torch.stack(torch.meshgrid(level, level, level, indexing="ij")).flatten(1)[None, :, :, None]
    reached = {tuple(pair) for pair in (10 * (views.rgb_to_lab(cube)[0, 1:, :, 0].T / 10).round() + 0.0).tolist()}
    assert reached <= palette
    assert len(reached) > 245
    # Lab of the primaries, as published: their bins are there, and none beyond them.
    for a, b in ((80, 70), (-90, 80), (80, -110), (0, 0), (-20, 90)):
        assert (a, b) in palette
    assert max(a for a, _ in palette) == 100
    assert min(b for _, b in palette) == -110


def test_colours_are_spread_over_their_five_nearest_bins():
    palette = views.ab_palette()
    ab = torch.tensor([[3.0, -4.0], [50.0, 42.0], [-86.0, 83.0]]).T.reshape(1, 2, 3, 1)
    bins, shares = views.to_bins(ab)
    assert bins.shape == shares.shape == (1, 5, 3, 1)
    for i in range(3):
        square = [sum((p - q) ** 2 for p, q in zip(ab[0, :, i, 0].tolist(), c, strict=True)) for c in palette.tolist()]
        nearest = sorted(range(261), key=square.__getitem__)[:5]
        heights = [math.exp(-square[k] / 50) for k in nearest]
        assert sorted(bins[0, :, i, 0].tolist()) == sorted(nearest)
        assert bins[0, 0, i, 0].item() == nearest[0]
        expected = {k: h / sum(heights) for k, h in zip(nearest, heights, strict=True)}
        for k, share in zip(bins[0, :, i, 0].tolist(), shares[0, :, i, 0].tolist(), strict=True):
            assert share == pytest.approx(expected[k], abs=1e-4)


def test_the_nearest_bins_are_those_of_all():
    rng = torch.Generator().manual_seed(0)
    of_images = views.rgb_to_lab(torch.rand(4, 3, 20, 20, generator=rng))[:, 1:]
    anywhere = 250 * torch.rand(4, 2, 20, 20, generator=rng) - 125
    for ab in (of_images, anywhere, torch.zeros(1, 2, 1, 1)):
        distance = torch.cdist(ab.movedim(1, -1), views.ab_palette())
        bins = views.to_bins(ab)[0].movedim(1, -1)
        torch.testing.assert_close(distance.gather(-1, bins), distance.sort(-1).values[..., :5], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (30, 33)])
def test_a_colour_is_that_of_the_middle_of_its_cell_and_half_precision_changes_none(height, width):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    lab = views.rgb_to_lab(images)
    with torch.autocast("cpu", torch.bfloat16):
        lightness, ab = views.split_color(images, 4)
    assert torch.equal(lightness, lab[:, :1] / 100)
    assert ab.shape == (2, 2, -(-height // 4), -(-width // 4))
    for row in range(ab.shape[2]):
        for column in range(ab.shape[3]):
            y, x = min(4 * row + 2, height - 1), min(4 * column + 2, width - 1)
            assert torch.equal(ab[:, :, row, column], lab[:, 1:, y, x])


def test_an_image_painted_in_its_own_colours_is_itself():
    flat = torch.rand(2, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 12, 8)
    torch.testing.assert_close(views.paint(*views.split_color(flat, 4)), flat, atol=1e-4, rtol=0)
