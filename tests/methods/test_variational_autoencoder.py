"""The variational autoencoder: the bound, its two terms, and samples from the prior."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from tests.methods.toys import batch, overfit
from withhold import data, nets
from withhold.methods import answers, build, find

LIKELIHOODS = ("gaussian", "bernoulli")


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("variational_autoencoder"), nets.build("convnet", size=size, channels=channels), values)


def learned(**values):
    """The last terms of sixty steps on the digits."""
    method = make(16, 1, code=8, likelihood="bernoulli", **values)
    return overfit(method, data.load("digits", size=16).batch(range(32)), seeds=range(60))[-1]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_loss_is_the_negative_bound_of_the_images_probability(photos, likelihood):
    method = make(likelihood=likelihood, beta=0.7)
    visible, view = method.hide(batch(photos, 5))
    predicted = decoded, mean, log_variance = method.predict(visible)
    posterior, prior = Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)
    if likelihood == "bernoulli":
        surprise = -Bernoulli(logits=decoded, validate_args=False).log_prob(view).sum() / 5
    else:
        levels, said = 255 * view, 255 * (decoded * 0.25 + 0.5)
        deviation = ((levels - said) ** 2).mean().sqrt()
        surprise = -Normal(said, deviation).log_prob(levels).sum() / 5
    terms = method.loss(predicted, view)
    assert terms["kl"].item() == pytest.approx(kl_divergence(posterior, prior).sum().item() / 5, rel=1e-4)
    assert terms["loss"].item() == pytest.approx((surprise + 0.7 * terms["kl"]).item(), rel=1e-5)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_trivial_is_the_cost_of_the_best_constant_image(photos, likelihood):
    """The cost of an image is convex in the answer, and flat at its least; the code costs nothing there."""
    method = make(likelihood=likelihood)
    _, view = method.hide(batch(photos))
    mean = view.mean(0)
    constant = (mean.logit() if likelihood == "bernoulli" else (mean - 0.5) / 0.25).requires_grad_()
    nothing = torch.zeros(len(view), 32)
    terms = method.loss((constant.expand_as(view), nothing, nothing), view)
    terms["loss"].backward()
    assert constant.grad.abs().max() < 1e-3
    assert terms["kl"] == 0
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-5)


def test_the_gaussian_s_deviation_is_the_likeliest():
    """No other one makes the images likelier, in steps of 1/255."""
    method = make(size=8, channels=1)
    decoded, view = torch.randn(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    found = method.surprise(decoded, view)
    error = (view - (decoded * 0.25 + 0.5)).square().mean().item()
    for deviation in (0.8 * error**0.5, 1.25 * error**0.5):
        other = 64 * (math.log(255 * deviation * (2 * math.pi) ** 0.5) + error / deviation**2 / 2)
        assert found.item() < other - 1


def test_the_decoder_sees_a_draw_from_the_posterior_and_nothing_else(photos):
    method = make(code=3).eval()
    (view, noise), _ = method.hide(batch(photos, 4))
    decoded, mean, log_variance = method.predict((view, noise))
    assert noise.shape == mean.shape == (4, 3)
    assert torch.allclose(decoded, method.decoder(mean + log_variance.exp().sqrt() * noise), atol=1e-5)
    assert not torch.allclose(decoded, method.predict((view, -noise))[0], atol=1e-3)


def test_the_weight_of_the_code_s_cost_decides_between_memory_and_prior():
    """Without it the image is remembered best and the prior is left; were the image's cost a mean, no code would say
    anything: 256 values weigh as much as one."""
    free, bound, collapsed = (learned(beta=beta) for beta in (0.0, 1.0, 256.0))
    assert free["psnr"] > bound["psnr"] > collapsed["psnr"]
    assert free["kl"] > 3 * bound["kl"]
    assert bound["active"] > 0
    assert collapsed["active"] == 0
    assert collapsed["kl"] < 0.1
    assert bound["loss"] < 0.9 * bound["trivial"]


def test_a_code_beyond_all_bounds_stays_finite(photos):
    method = make()
    torch.nn.init.constant_(method.posterior.bias, 1e4)
    terms = method(batch(photos, 4))
    assert torch.isfinite(terms["loss"])
    assert method.encode(torch.rand(2, 3, 32, 32))[1].max() == 10


def test_it_gives_draws_from_the_prior_and_the_way_from_one_image_to_another(photos):
    method = make().eval()
    first, second = torch.from_numpy(photos[:2]).permute(0, 3, 1, 2)
    alone = method.apply_to(first)
    assert set(alone) == {"seen", "reconstructed", "samples"}
    assert alone["samples"].pixels.shape == (3, 4 * 34, 4 * 34)
    assert not torch.equal(alone["samples"].pixels, method.apply_to(first)["samples"].pixels)
    walk = method.apply_to(first, answers.Image(second))["walk"].pixels
    assert walk.shape == (3, 34, 8 * 34)
    for image, tile in ((first, walk[:, 1:33, 1:33]), (second, walk[:, 1:33, -33:-1])):
        expected = method.apply_to(image)["reconstructed"].pixels
        assert torch.allclose(tile, expected.clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"code": 0}, {"beta": -1.0}, {"likelihood": "poisson"}])
def test_a_value_out_of_range_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        find("variational_autoencoder")(nets.build("convnet", size=32, channels=3), **wrong)


def test_a_feature_of_the_code_is_active_whose_mean_varies_by_a_hundredth():
    method = make(code=2)
    mean = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]) * torch.tensor([0.02, 0.005]).sqrt()
    view = torch.rand(2, 3, 32, 32)
    assert method.loss((torch.zeros(2, 3, 32, 32), mean, torch.zeros(2, 2)), view)["active"] == 1


def test_images_are_not_mirrored():
    images = (torch.arange(3 * 32 * 32).view(1, 3, 32, 32) % 256).byte().repeat(50, 1, 1, 1)
    assert torch.allclose(make().hide({"images": images})[1], images / 255, atol=1e-5)
