"""Pooling and whitening against independent implementations; encoders cut off at a stage."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from withhold import nets
from withhold.errors import UsageError
from withhold.nets.pooling import POOLINGS, gem, pair_whitening, rmac, whitening


def test_poolings_place_by_place():
    maps = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    for n in range(3):
        for d in range(5):
            values = maps[n, d].flatten().tolist()
            assert POOLINGS["average"](maps)[n, d].item() == pytest.approx(sum(values) / 16, abs=1e-6)
            assert POOLINGS["MAC"](maps)[n, d].item() == max(values)
            cubes = sum(max(value, 1e-6) ** 3 for value in values) / 16
            assert gem(maps)[n, d].item() == pytest.approx(cubes ** (1 / 3), rel=1e-4)


def test_gem_lies_between_the_mean_and_the_maximum():
    maps = torch.rand(2, 3, 6, 6) + 0.1
    assert torch.allclose(gem(maps, 1.0), POOLINGS["average"](maps))
    assert torch.allclose(gem(maps, 200.0), POOLINGS["MAC"](maps), rtol=0.03)


@pytest.mark.parametrize(("grid", "squares"), [(1, 1), (2, 14), (4, 14), (8, 14), (13, 14)])
def test_rmac_adds_up_the_maxima_of_fourteen_squares(grid, squares):
    maps = torch.rand(2, 5, grid, grid, generator=torch.Generator().manual_seed(0))
    expected, count = torch.zeros(2, 5), 0
    for level in (1, 2, 3):
        side = math.floor(2 * grid / (level + 1))
        if side == 0:
            continue
        step = (grid - side) / (level - 1) if level > 1 else 0
        for i in range(level):
            for j in range(level):
                top, left = math.floor(i * step), math.floor(j * step)
                region = F.max_pool2d(maps[:, :, top : top + side, left : left + side], side)[:, :, 0, 0]
                expected += region / region.norm(dim=1, keepdim=True)
                count += 1
    assert count == squares
    assert torch.allclose(rmac(maps), expected, atol=1e-6)


def test_whitened_training_items_have_unit_covariance():
    mix = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(1)) @ mix + 3
    mean, projection = whitening(x)
    white = (x - mean) @ projection
    assert torch.allclose(white.T @ white / 500, torch.eye(6), atol=1e-3)
    theirs = torch.from_numpy(PCA(whiten=True).fit(x.numpy()).transform(x.numpy())) * (500 / 499) ** 0.5
    assert torch.allclose(white.flip(1).abs(), theirs.abs(), atol=1e-2)


def test_directions_of_rounding_alone_are_left_out():
    """With more features than samples, or duplicate features, whitening would amplify rounding errors."""
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    _, projection = whitening(torch.cat([x, x, 2 * x], 1))
    assert projection.shape == (9, 3)
    _, projection = whitening(torch.randn(10, 30, generator=torch.Generator().manual_seed(0)))
    assert projection.shape == (30, 9)
    _, projection = whitening(torch.full((20, 4), 0.5))
    assert projection.shape == (4, 0)


def test_the_whitening_of_pairs_solves_the_generalised_eigenproblem():
    rng = torch.Generator().manual_seed(0)
    truth = torch.randn(300, 8, generator=rng) * torch.arange(1, 9)
    noise = torch.randn(600, 8, generator=rng) @ torch.randn(8, 8, generator=rng)
    x = torch.cat([truth, truth]) + noise + 2
    first, second = torch.arange(300), torch.arange(300, 600)
    mean, projection = pair_whitening(x, first, second)
    apart = (x[first] - x[second]).double().numpy()
    within = apart.T @ apart / 300
    gaps = [np.square(np.outer(row, row) - within).sum() for row in apart]
    target = np.trace(within) / 8 * np.eye(8)
    share = min(1, np.sum(gaps) / 300**2 / np.square(within - target).sum())  # Ledoit & Wolf (2004), theorem 3.2
    within = (1 - share) * within + share * target
    total = np.cov(x.double().numpy().T, bias=True)
    values, vectors = scipy.linalg.eigh(total, within)  # vectors.T @ within @ vectors = 1
    assert torch.allclose(mean, x.mean(0))
    np.testing.assert_allclose(projection.abs(), np.abs(vectors[:, ::-1]), rtol=1e-3, atol=1e-5)
    white = ((x - mean) @ projection).double()
    covariance = (white.T @ white / 600).numpy()
    np.testing.assert_allclose(covariance, np.diag(values[::-1]), atol=1e-3 * values.max())


def test_the_whitening_of_pairs_finds_partners_that_noise_hides():
    rng = torch.Generator().manual_seed(0)
    truth, loud = torch.randn(600, 6, generator=rng), 4 * torch.randn(1200, 2, generator=rng)
    x = torch.cat([torch.cat([truth, truth]), loud], dim=1)
    first, second = torch.arange(600), torch.arange(600, 1200)
    mean, projection = pair_whitening(x, first[:300], second[:300])

    def found(x):
        x = F.normalize(x, dim=1)
        return ((x[first[300:]] @ x[second[300:]].T).argmax(1) == torch.arange(300)).float().mean().item()

    assert found(x) < 0.2
    assert found((x - mean) @ projection) > 0.8


def test_few_pairs_and_equal_ones_are_enough_for_a_finite_whitening():
    x = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    for pairs in ([0, 1], [2, 3]), ([0, 1], [0, 1]):
        assert all(part.isfinite().all() for part in pair_whitening(x, *map(torch.tensor, pairs)))


@pytest.mark.parametrize("name", ["convnet", "resnet18", "efficientnet-lite0", "vit-tiny"])
@torch.no_grad()
def test_every_stage_of_an_encoder_has_maps_and_can_be_pooled(name):
    encoder = nets.build(name, size=32, channels=3).eval()
    images, x = torch.rand(2, 3, 32, 32), None
    for number, stage in enumerate(encoder.stages(), 1):
        pooled = nets.Pooled(encoder, number, "MAC").eval()
        maps = pooled.maps(images)
        assert pooled.dim == maps.shape[1] and pooled(images).shape == (2, pooled.dim)
        assert torch.equal(pooled(images), maps.amax((2, 3)))
        assert len(pooled.stages()) == number
        if name == "convnet":
            x = encoder.normalize(images) if x is None else x
            for part in stage:
                x = part(x)
            assert torch.equal(maps, x)
    assert torch.allclose(nets.Pooled(encoder, number)(images), encoder(images), atol=1e-5)
    assert torch.equal(nets.Pooled(encoder)(images), encoder(images))
    assert torch.equal(nets.Pooled(encoder, pooling="GeM")(images), gem(encoder.maps(images)))
    clips = torch.rand(2, 3, 3, 32, 32)
    of_clips = nets.Pooled(encoder, 1, "MAC")
    assert torch.allclose(of_clips(clips)[1], torch.stack([of_clips(frame[None])[0] for frame in clips[1]]).mean(0))
    assert not any(part._forward_hooks for part in encoder.modules())


def test_tokens_of_no_place_come_before_the_grid_and_channels_that_come_last_are_no_maps():
    maps = torch.zeros(1, 5, 2, 3)
    tokens = torch.randn(1, 8, 4)
    assert torch.equal(nets.as_maps(tokens, maps)[0, :, 1, 0], tokens[0, 5])
    assert nets.as_maps(tokens[:, :5], maps) is None
    assert nets.as_maps(torch.zeros(1, 7, 7, 32), maps) is None
    assert nets.as_maps((tokens,), maps) is None


def test_stages_and_poolings_that_are_not_there():
    encoder = nets.build("convnet", size=32, channels=1)
    for stage in (0, 5):
        with pytest.raises(UsageError, match=rf"has 4 stages, but no stage {stage}\. Give a number from 1 to 4"):
            nets.Pooled(encoder, stage)
    with pytest.raises(UsageError, match="no pooling 'mac'"):
        nets.Pooled(encoder, 1, "mac")
    with pytest.raises(UsageError, match=r"need an encoder of images; this one takes audio"):
        nets.Pooled(nets.build("audio-cnn", rate=4000), 1)
