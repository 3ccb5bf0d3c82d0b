import numpy as np
import pytest
import torch

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods.image.barlow_twins import BarlowTwins


def make(**parameters):
    torch.manual_seed(0)
    return BarlowTwins(nets.build("convnet", size=32, channels=3), **parameters)


def test_loss_is_the_distance_of_the_cross_correlation_from_the_identity():
    embedded = torch.randn(2 * 20, 6) * torch.tensor([1.0, 5, 0.2, 1, 1, 1]) + 3
    first, second = embedded.numpy().reshape(2, 20, 6)
    correlations = np.corrcoef(first.T, second.T)[:6, 6:]
    own = sum((1 - correlations[i, i]) ** 2 for i in range(6))
    others = sum(correlations[i, j] ** 2 for i in range(6) for j in range(6) if i != j)
    terms = make(redundancy=0.1).loss(embedded, torch.arange(20))
    assert terms["invariance"].item() == pytest.approx(own, rel=1e-3)
    assert terms["redundancy"].item() == pytest.approx(others, rel=1e-3)
    assert terms["loss"].item() == pytest.approx(own + 0.1 * others, rel=1e-3)


def test_a_constant_costs_the_trivial_loss_and_noise_costs_more():
    method, partners = make(), torch.arange(512)
    trivial = method.loss(torch.ones(1024, 32), partners)["trivial"]
    assert method.loss(torch.ones(1024, 32), partners)["loss"].item() == trivial == 32
    assert method.loss(torch.randn(1024, 32), partners)["loss"].item() == pytest.approx(trivial, rel=0.1)
    informed = torch.randn(512, 32).repeat(2, 1) + 0.1 * torch.randn(1024, 32)
    assert method.loss(informed, partners)["loss"] < 0.1 * trivial


def test_scale_and_shift_of_a_feature_do_not_count():
    method, embedded, partners = make(), torch.randn(40, 6), torch.arange(20)
    scaled = embedded * torch.rand(6) * 9 + torch.randn(6)
    assert method.loss(scaled, partners)["loss"].item() == pytest.approx(
        method.loss(embedded, partners)["loss"].item(), rel=1e-3
    )


def test_accuracy_is_how_many_first_views_find_their_second():
    method, embedded = make(), torch.randn(6, 8).repeat(2, 1)
    assert method.loss(embedded, torch.arange(6))["accuracy"] == 1
    assert method.loss(embedded, torch.arange(6).flip(0))["accuracy"] == 0


def test_views_are_in_two_rounds_of_the_images():
    method = make()
    seen, partners = method.hide({"images": random_images(6)})
    assert seen.shape == (12, 3, 32, 32)
    assert torch.equal(partners, torch.arange(6))
    assert method.predict(seen).shape == (12, 512)


@pytest.mark.parametrize(("redundancy", "repeats"), [(0.02, False), (0.0, True)])
def test_without_its_second_term_features_say_the_same(redundancy, repeats):
    last = overfit(make(redundancy=redundancy, projection=128), smooth_images(48), seeds=range(40))[-10:]
    spread = sum(terms["directions"].item() for terms in last) / 10
    assert (spread < 2) == repeats
    if not repeats:
        assert last[-1]["loss"] < 0.8 * last[-1]["trivial"]
