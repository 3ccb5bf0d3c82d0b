"""J and F against loops and scipy's morphology, as DAVIS's own code computes them."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from withhold.evaluation.masks import boundary, outline, region


def blob(seed, shape=(60, 80)):
    noise = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(ndimage.gaussian_filter(noise, 5) > 0.02)


def davis_outline(mask):
    """The loop behind DAVIS's seg2bmap."""
    h, w = mask.shape
    found = np.zeros((h, w), dtype=bool)
    for y in range(h):
        for x in range(w):
            down, right = min(y + 1, h - 1), min(x + 1, w - 1)
            found[y, x] = any(mask[y, x] != mask[v, u] for v, u in ((y, right), (down, x), (down, right)))
    return found


def davis_boundary(mask, truth):
    """F by dilation with a disk."""
    reach = math.ceil(0.008 * np.linalg.norm(mask.shape))
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disk = y**2 + x**2 <= reach**2
    first, second = davis_outline(mask), davis_outline(truth)
    precision = (first & ndimage.binary_dilation(second, disk)).sum() / first.sum()
    recall = (second & ndimage.binary_dilation(first, disk)).sum() / second.sum()
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(4))
def test_outlines_and_boundaries_are_those_of_davis(seed):
    mask, truth = blob(seed), blob(seed + 10)
    assert np.array_equal(outline(mask).numpy(), davis_outline(mask.numpy()))
    assert boundary(mask, truth) == pytest.approx(davis_boundary(mask.numpy(), truth.numpy()))
    moved = mask.roll(3, 1)
    assert boundary(moved, mask) == pytest.approx(davis_boundary(moved.numpy(), mask.numpy()))


def test_the_tolerance_is_a_distance_rounded_up():
    """A diagonal of 100 pixels: 0.8, which is 1. A straight edge may be off by one pixel, not by two."""
    edges = [torch.arange(80).expand(60, 80) < 40 + shift for shift in (0, 1, 2)]
    assert boundary(edges[1], edges[0]) == 1
    assert boundary(edges[2], edges[0]) == 0


def test_regions_are_counted_by_hand():
    mask, truth = torch.zeros(2, 10, 10, dtype=torch.bool).unbind()
    mask[:5, :4], truth[:5, 2:6] = True, True
    assert region(mask, truth) == pytest.approx(10 / 30)
    assert region(mask, mask) == 1
    assert region(mask, ~mask) == 0


def test_what_is_empty_has_its_value():
    full, empty = blob(0), torch.zeros(60, 80, dtype=torch.bool)
    assert (region(empty, empty), boundary(empty, empty)) == (1, 1)
    for pair in ((full, empty), (empty, full)):
        assert region(*pair) == boundary(*pair) == 0
