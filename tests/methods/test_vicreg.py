import numpy as np
import pytest
import torch

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods.image.vicreg import VICReg


def make(**parameters):
    torch.manual_seed(0)
    return VICReg(nets.build("convnet", size=32, channels=3), **parameters)


def test_loss_is_invariance_variance_and_covariance():
    n, d = 20, 5
    embedded = torch.randn(2 * n, d) * torch.tensor([0.3, 0.6, 0.9, 1.5, 0.01]) + 2
    views = embedded.numpy().astype(float).reshape(2, n, d)
    invariance = sum((views[0, i, j] - views[1, i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    variance = sum(max(0, 1 - (view[:, j].var(ddof=1) + 1e-4) ** 0.5) for view in views for j in range(d)) / (2 * d)
    covariance = sum(np.cov(view.T)[i, j] ** 2 for view in views for i in range(d) for j in range(d) if i != j) / d
    terms = make(invariance=3.0, variance=4.0, covariance=5.0).loss(embedded, torch.arange(n))
    assert terms["invariance"].item() == pytest.approx(invariance, rel=1e-4)
    assert terms["variance"].item() == pytest.approx(variance, rel=1e-4)
    assert terms["covariance"].item() == pytest.approx(covariance, rel=1e-4)
    assert terms["loss"].item() == pytest.approx(3 * invariance + 4 * variance + 5 * covariance, rel=1e-4)


@pytest.mark.parametrize("weights", [{}, {"variance": 10.0}, {"variance": 200.0}])
def test_nothing_that_ignores_the_image_costs_less_than_the_trivial_loss(weights):
    method, noise, partners = make(covariance=0.0, **weights), torch.randn(2000, 16), torch.arange(1000)
    scales = torch.linspace(0, 1.2, 25)
    costs = [method.loss(noise * scale, partners)["loss"].item() for scale in scales]
    trivial = method.loss(noise, partners)["trivial"]
    assert min(costs) == pytest.approx(trivial, rel=0.05)


def test_accuracy_is_how_many_first_views_find_their_second():
    method, embedded = make(), torch.randn(6, 8).repeat(2, 1)
    assert method.loss(embedded, torch.arange(6))["accuracy"] == 1
    assert method.loss(embedded, torch.arange(6).flip(0))["accuracy"] == 0


def test_views_are_in_two_rounds_of_the_images():
    method = make()
    seen, partners = method.hide({"images": random_images(6)})
    assert seen.shape == (12, 3, 32, 32)
    assert torch.equal(partners, torch.arange(6))
    first, second = seen.chunk(2)
    assert (first != second).flatten(1).any(1).all()
    assert method.predict(seen).shape == (12, 512)


@pytest.fixture(scope="module")
def ablated():
    """What the last embeddings are like with all terms, and without one: their deviation, and their directions."""
    found = {}
    for name, weights in {"none": {}, "variance": {"variance": 0.0}, "covariance": {"covariance": 0.0}}.items():
        method, images = make(projection=64, **weights), smooth_images(48, size=16)
        terms = overfit(method, images, seeds=range(40))[-1]
        with torch.no_grad():
            embedded = method.predict(method.hide({"images": images})[0])
        found[name] = embedded.std(0).mean().item(), terms["directions"].item()
    return found


def test_without_the_variance_all_images_are_embedded_alike(ablated):
    assert ablated["variance"][0] < 0.3 * ablated["none"][0]


def test_without_the_covariance_features_say_the_same(ablated):
    assert ablated["covariance"][1] < 0.5 * ablated["none"][1]
    assert ablated["covariance"][0] > 0.3


def test_a_few_images_are_learned_by_heart():
    history = overfit(make(), smooth_images(32), seeds=range(60))
    assert history[-1]["loss"] < history[-1]["trivial"]
    assert sum(terms["accuracy"] for terms in history[-10:]) / 10 > 0.125  # chance is 1 / 32; one step is noisy
