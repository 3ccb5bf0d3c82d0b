"""The map places similar items close together, and changes as little as possible."""

import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from withhold.exploring import atlas


@pytest.fixture
def features():
    """Three groups of items in 40 dimensions."""
    rng = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(3, 40, generator=rng)
    return centres.repeat_interleave(40, 0) + torch.randn(120, 40, generator=rng)


def test_components_are_those_of_scikit_learn(features):
    parts = atlas.Axes.of(features, 2)(features)  # those that the groups differ in; the others are alike
    expected = PCA(2, svd_solver="full").fit_transform(F.normalize(features, dim=1).double().numpy())
    np.testing.assert_allclose(np.abs(parts.numpy()), np.abs(expected), atol=2e-4)


def test_components_are_the_same_each_time_and_leave_the_generator_alone(features):
    state = torch.get_rng_state()
    assert atlas.Axes.of(features, 5)(features).equal(atlas.Axes.of(features, 5)(features))
    assert torch.get_rng_state().equal(state)


def test_fewer_items_than_axes_have_places_all_the_same():
    for count in (1, 2, 3):
        parts = atlas.Axes.of(torch.randn(count, 7), 50)(torch.randn(count, 7))
        assert np.isfinite(atlas.plane(parts)).all() and atlas.plane(parts).shape == (count, 2)


def test_t_sne_keeps_groups_together(features):
    parts = atlas.Axes.of(features, 50)(features)
    places = atlas.embed(parts, atlas.plane(parts))
    assert places is not None and places.dtype == np.float32 and np.abs(places).max() <= 1 + 1e-6
    groups = np.repeat(range(3), 40)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(120)
    assert (groups[distances.argmin(1)] == groups).all()


def test_without_open_tsne_two_components_stay(features, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    parts = atlas.Axes.of(features, 50)(features)
    assert atlas.embed(parts, atlas.plane(parts)) is None


def test_a_kept_map_is_the_same_again_and_takes_new_items_in(features, tmp_path):
    parts = atlas.Axes.of(features, 50)(features)
    names = [f"naïve\udcff {i}" for i in range(120)]
    places = np.random.default_rng(0).random((120, 2)).astype(np.float32)
    atlas.keep(tmp_path / "map.npz", names[:100], places[:100])
    again = atlas.kept(tmp_path / "map.npz", names, parts)
    np.testing.assert_array_equal(again[:100], places[:100])
    x = parts.numpy()
    for item in range(100, 120):  # by hand: the five nearest of the old ones, weighted by nearness
        distances = np.linalg.norm(x[:100] - x[item], axis=1)
        near = distances.argsort()[:5]
        weights = 1 / (distances[near] + 1e-9)
        np.testing.assert_allclose(again[item], (weights / weights.sum()) @ places[near], rtol=1e-4)


def test_a_map_of_other_items_is_not_gone_on_with(features, tmp_path):
    parts = atlas.Axes.of(features, 50)(features)
    atlas.keep(tmp_path / "map.npz", ["x", "y"], np.zeros((2, 2), np.float32))
    assert atlas.kept(tmp_path / "map.npz", [str(i) for i in range(120)], parts) is None
