"""Dirt and drops on a pane: their positions, what drops show, and unchanged pixels."""

import pytest
import torch

from withhold import views
from withhold.views.dirt import specks


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_specks_are_round_and_of_the_widths_that_are_asked_for():
    """Each pixel's distance from the middle of its speck says whether it is inside: by as much as its radius."""
    opacity, right, down = specks(20, 64, 64, rng(), 9, 1.0)
    assert opacity.shape == (20, 1, 64, 64)
    assert right.shape == down.shape == (20, 64, 64)
    distance = (right**2 + down**2).sqrt()
    assert distance[opacity[:, 0] > 0].max() < 4.5
    assert (opacity[:, 0][distance < 0.5] == 0).any(), "some cells have none"
    inside = opacity[0, 0] / opacity[0].max()
    edge = (inside > 0) & (inside < 1)
    radius = distance[0] + inside
    assert radius[edge].min() >= 1.5 - 1e-4
    assert radius[edge].max() <= 4.5 + 1e-4


def test_a_speck_is_one_piece_around_its_middle():
    """The next pixel in the same speck is one pixel farther from its middle."""
    opacity, right, down = specks(4, 48, 48, rng(), 8, 1.0)
    covered = opacity[:, 0] > 0
    both, steps = covered[:, :, 1:] & covered[:, :, :-1], right.diff(dim=2)
    same = (steps - 1).abs() < 1e-4
    assert same[both].float().mean() > 0.9
    assert (down.diff(dim=2)[both & same].abs() < 1e-4).all()


def test_they_cover_from_nothing_to_what_is_asked_for():
    """A speck that fills its cell would cover a share of pi / 4; the middle one is two thirds as wide."""
    shares = [(specks(400, 32, 32, rng(), 8, cover)[0] > 0.5).float().mean((1, 2, 3)) for cover in (0.2, 0.8)]
    assert shares[0].min() == 0
    assert 3 < shares[1].mean() / shares[0].mean() < 5
    assert shares[1].max() < 0.8 * 0.7854


def test_every_place_is_covered_as_often_as_any_other():
    often = (specks(4000, 16, 16, rng(), 8, 1.0)[0] > 0).float().mean((0, 1))
    assert often.std() < 0.03
    assert often.mean() > 0.1


@pytest.mark.parametrize("pane", [views.dirt, views.rain])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_covered_stays_and_the_rest_stays_in_range(pane, channels):
    images = torch.rand(8, channels, 40, 32, generator=rng(1))
    seen = pane(images, rng(), largest=8, cover=0.5)
    assert seen.shape == images.shape
    assert seen.min() >= 0 and seen.max() <= 1
    changed = (seen != images).any(1).float().mean((1, 2))
    assert changed.min() < 0.1 and 0.2 < changed.max() < 0.6
    assert torch.equal(seen, pane(images, rng(), largest=8, cover=0.5))
    assert torch.equal(images, pane(images, rng(), largest=8, cover=0.0))


def test_dirt_is_of_one_colour_in_an_image_and_never_blue():
    """Over black it is a multiple of one colour, with the most red and the least blue."""
    seen = views.dirt(torch.zeros(16, 3, 32, 32), rng())
    for image in seen.flatten(2):
        red, green, blue = image[:, image[0] > 0.01]
        assert len(red)
        assert (red >= green - 1e-6).all() and (green >= blue - 1e-6).all()
        assert (green / red).std() < 1e-3
    assert seen.amax((1, 2, 3)).min() > 0.03 and seen.max() < 0.71


def test_a_drop_shows_its_surroundings_upside_down_and_smaller():
    """If red rises to the right and green downwards, both fall twice as fast within a drop."""
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    images = torch.stack([columns, rows, rows]).expand(4, -1, -1, -1) / 95
    seen = views.rain(images, rng(), largest=10, cover=1.0)
    opacity, right, down = specks(4, 96, 96, rng(), 10, 1.0)
    inner = torch.zeros_like(opacity[:, 0], dtype=torch.bool)
    inner[:, 20:-20, 20:-20] = True  # beyond the edge, the scene goes on as in a mirror
    drop = (opacity[:, 0] > 0) & inner
    for channel, place, offset in ((0, columns, right), (1, rows, down)):
        expected = torch.lerp(place.expand(4, -1, -1), place - 3 * offset, opacity[:, 0]) / 95
        assert torch.allclose(seen[:, channel][drop], expected[drop], atol=1e-4)
