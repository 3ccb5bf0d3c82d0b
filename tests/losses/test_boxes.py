"""Losses for object detection against plain loops."""

import math

import numpy as np
import pytest
import torch

from withhold import losses


def test_the_focal_loss_is_that_of_center_net():
    rng = torch.Generator().manual_seed(0)
    scores, heat = (torch.rand(2, 3, 4, 4, generator=rng) for _ in range(2))
    scores = 4 * scores - 2
    heat[0, 1, 2, 3] = heat[1, 0, 0, 0] = heat[1, 2, 0, 0] = 1
    known = torch.rand(2, 1, 4, 4, generator=rng) < 0.7
    known[0, 0, 2, 3] = False  # a middle counts all the same
    total = 0.0
    for n, k, i, j in np.ndindex(2, 3, 4, 4):
        share, y = 1 / (1 + math.exp(-scores[n, k, i, j])), heat[n, k, i, j].item()
        if y == 1:
            total -= (1 - share) ** 2 * math.log(share)
        elif known[n, 0, i, j]:
            total -= (1 - y) ** 4 * share**2 * math.log(1 - share)
    assert losses.focal(scores, heat, known).item() == pytest.approx(total / 3, rel=1e-5)
    nothing = losses.focal(scores, torch.zeros_like(heat), known)
    assert nothing.isfinite() and nothing > 0


def test_generalized_iou_by_counting_pixels():
    rng = np.random.default_rng(0)
    for _ in range(50):
        (a, b, c, d), (e, f, g, h) = (np.sort(rng.integers(0, 12, (2, 2)), 0).ravel() for _ in range(2))
        first, second = np.zeros((2, 12, 12), bool)
        first[b:d, a:c] = second[f:h, e:g] = True
        around = (max(c, g) - min(a, e)) * (max(d, h) - min(b, f))
        shared, either = (first & second).sum(), (first | second).sum()
        boxes = torch.tensor([[a, b, c, d], [e, f, g, h]]).float()
        if not either:
            continue
        assert losses.iou(*boxes).item() == pytest.approx(shared / either, abs=1e-6)
        expected = shared / either - (around - either) / around
        assert losses.generalized_iou(*boxes).item() == pytest.approx(expected, abs=1e-5)
