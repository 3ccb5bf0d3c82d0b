"""The generator of Moving MNIST used by the claims."""

import sys

import numpy as np
import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from claims import moving_mnist as generator


def test_a_point_goes_straight_and_is_mirrored_at_the_walls():
    found = generator.tracks(np.random.default_rng(0), 200, 40, reflect=True)
    assert found.min() >= 0 and found.max() <= 1
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 200)
    start = rng.uniform(0, 1, (200, 2))
    way = start[:, None] + 0.1 * np.arange(1, 41)[None, :, None] * np.stack([np.sin(angle), np.cos(angle)], 1)[:, None]
    unfolded = way % 2  # a mirror image of the room behind every wall
    np.testing.assert_allclose(found, np.where(unfolded > 1, 2 - unfolded, unfolded), atol=1e-9)


def test_the_published_generator_stops_at_the_walls():
    found = generator.tracks(np.random.default_rng(0), 300, 20, reflect=False)
    at_wall = (found == 0) | (found == 1)
    assert at_wall.any(axis=(1, 2)).mean() > 0.5
    steps = np.abs(np.diff(found, axis=1))
    assert (steps.max(axis=(1, 2)) <= 0.1 + 1e-9).all()


def test_digits_are_pasted_where_they_are_and_the_brighter_one_is_seen():
    images = np.array([255, 127], np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
    found, chosen = generator.clips(images, 50, 0)
    assert found.shape == (50, 20, 64, 64)
    assert chosen.shape == (50, 2)
    for clip, pair in zip(found, chosen, strict=True):
        bright = (clip == 255).sum((1, 2))
        assert (bright >= 28 * 28).all() if 0 in pair else (bright == 0).all()
        if (pair == 0).sum() == 1:
            assert (bright == 28 * 28).all(), "the fainter one never covers it"
    again, _ = generator.clips(images, 50, 0)
    assert np.array_equal(found, again)


def test_the_trivial_errors_are_the_known_ones(real_data):
    """All zero 171.5 and the last frame 282, as computed elsewhere from the published generator."""
    from withhold import data

    digits = data.load(f"{real_data / 'mnist'}::test", size=28).array[..., 0]
    found = generator.clips(digits, 300, 0, reflect=False)[0].astype(np.float32) / 255
    true = found[:, 10:]
    assert (true**2).sum((2, 3)).mean() == pytest.approx(171.5, rel=0.04)
    assert ((true - found[:, 9:10]) ** 2).sum((2, 3)).mean() == pytest.approx(282, rel=0.04)
