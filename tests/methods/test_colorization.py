"""Colorization: the loss, the weights, the annealed mean."""

import math

import pytest
import torch

from tests.methods.toys import batch, random_images
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import build, find
from withhold.methods.image import colorization


def make(encoder="convnet", size=32, **values):
    torch.manual_seed(0)
    return build(find("colorization"), nets.build(encoder, size=size, channels=1), values)


class Stream:
    """The least that `prepare` needs of a stream."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return self.images[indices]


def color(red, green, blue):
    return torch.tensor([red, green, blue], dtype=torch.float32).view(1, 3, 1, 1)


def test_the_loss_is_the_weighted_cross_entropy_of_the_soft_targets(photos):
    method = make()
    method.prepare(images=Stream(batch(photos, 64)["images"]))
    _, (bins, shares, weight) = method.hide(batch(photos, 3))
    scores = torch.randn(3, 261, 8, 8, generator=torch.Generator().manual_seed(1)).scatter_add_(1, bins, 9 * shares)
    target = torch.zeros(3, 261, 8, 8).scatter_(1, bins, shares)
    surprise = torch.nn.functional.cross_entropy(scores, target, reduction="none")
    terms = method.loss(scores, (bins, shares, weight))
    assert terms["loss"].item() == pytest.approx((surprise * weight).mean().item(), rel=1e-4)
    hits = weight[scores.argmax(1) == target.argmax(1)].sum() / weight.sum()
    assert terms["accuracy"].item() == pytest.approx(hits.item(), rel=1e-4)


def test_trivial_is_the_loss_of_the_best_constant_answer(photos):
    """Grey photos aside, no change of it lowers its loss: the gradient is zero, and the loss is convex."""
    method, images = make(), batch(photos, 64)["images"].clone()
    images[:16] = images[:16, :1]
    method.prepare(images=Stream(images))
    _, (bins, shares, weight) = method.hide({"images": images})
    wanted = (weight[:, None] * torch.zeros(64, 261, 8, 8).scatter_(1, bins, shares)).sum((0, 2, 3))
    constant = (wanted / wanted.sum() + 1e-9).log().requires_grad_()
    terms = method.loss(constant.view(1, -1, 1, 1).expand(64, -1, 8, 8), (bins, shares, weight))
    terms["loss"].backward()
    assert constant.grad.abs().max() < 1e-5
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-5)
    assert 0 < terms["trivial"] < math.log(261)


def test_rare_colours_weigh_more():
    """Three grey images and one red: two frequencies, and equation 4 by hand."""
    method = make(smoothing=0.5)
    red, grey = color(1, 0, 0), color(0.5, 0.5, 0.5)
    images = torch.cat([grey, grey, grey, red]).expand(-1, -1, 8, 8).mul(255).round().to(torch.uint8)
    method.prepare(images=Stream(images))
    bins, shares = (
        torch.cat(parts) for parts in zip(*[views.to_bins(colorization.split(i[None])[1]) for i in images], strict=True)
    )
    frequency = [0.0] * 261
    for k, share in zip(bins.flatten().tolist(), shares.flatten().tolist(), strict=True):
        frequency[k] += share / (4 * 4)
    assert sum(frequency) == pytest.approx(1, abs=1e-4)
    raw = [1 / (0.5 * p + 0.5 / 261) for p in frequency]
    scale = sum(p * w for p, w in zip(frequency, raw, strict=True))
    assert torch.allclose(method.weight, torch.tensor([w / scale for w in raw]), rtol=1e-3)
    assert method.weight[bins[3, 0, 0, 0]] > 1.5 * method.weight[bins[0, 0, 0, 0]]


def test_full_smoothing_weighs_all_bins_alike(photos):
    method = make(smoothing=1.0)
    method.prepare(images=Stream(batch(photos)["images"]))
    assert torch.allclose(method.weight, torch.ones(261), atol=1e-4)


def test_photos_without_colour_do_not_count(photos):
    images = batch(photos, 4)["images"].clone()
    images[:2] = images[:2, :1]
    _, (_, _, weight) = make().hide({"images": images})
    assert (weight[:2] == 0).all()
    assert (weight[2:] > 0).all()
    terms = make()({"images": images[:2]})
    assert terms["loss"] == 0
    assert terms["trivial"] == 0


def test_the_network_sees_lightness_only():
    """Two colours of one lightness look the same to it, and their targets differ."""
    method = make()
    lab = torch.tensor([[50.0, 40.0, 20.0], [50.0, -30.0, 10.0]]).view(2, 3, 1, 1).expand(-1, -1, 32, 32)
    seen, (bins, _, _) = method.hide({"images": views.lab_to_rgb(lab)})
    assert seen.shape == (2, 1, 32, 32)
    assert torch.allclose(seen, torch.full_like(seen, 0.5), atol=1e-3)
    assert method.palette[bins[:, 0, 0, 0]].tolist() == [[40, 20], [-30, 10]]


def test_the_annealed_mean_sharpens_towards_the_mode():
    scores = torch.randn(2, 261, 3, 3, generator=torch.Generator().manual_seed(0))
    palette = views.ab_palette()
    for temperature in (0.38, 1.0):
        share = torch.exp(torch.log_softmax(scores, 1) / temperature)
        expected = (share / share.sum(1, keepdim=True)).movedim(1, -1) @ palette
        assert torch.allclose(make(temperature=temperature).decode(scores).movedim(1, -1), expected, atol=1e-3)
    mode = palette[scores.argmax(1)].movedim(-1, 1)
    assert torch.allclose(make(temperature=1e-5).decode(scores), mode, atol=1e-2)


@pytest.mark.parametrize("channels", [1, 3])
def test_photos_of_any_shape_keep_their_lightness(channels):
    image = torch.randint(0, 256, (channels, 40, 56), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    method = make().eval()
    shown = {name: value.pixels[None] for name, value in method.apply_to(image // 2 + 64).items()}
    assert shown["colorized"].shape == (1, 3, 40, 56)
    assert torch.allclose(views.rgb_to_lab(shown["colorized"])[:, :1] / 100, shown["seen"], atol=0.03)
    expected = views.lightness(views.with_channels(views.to_float(image[None] // 2 + 64), 3))
    assert torch.allclose(shown["seen"], expected, atol=1e-4)


@pytest.mark.parametrize(("encoder", "size"), [("convnet", 28), ("convnet", 30), ("vit-tiny", 28), ("resnet18", 64)])
def test_every_place_has_a_prediction(encoder, size):
    """Also where the encoder's map is finer than the colours'."""
    method = make(encoder, size)
    images = random_images(2, size=size)
    seen, (bins, _, _) = method.hide({"images": images})
    assert method.predict(seen).shape[2:] == bins.shape[2:] == (-(-size // 4),) * 2


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="colorization needs colour images, but these are grey"):
        make()({"images": torch.zeros(2, 1, 32, 32, dtype=torch.uint8)})
    encoder = nets.build("convnet", size=32, channels=1)
    with pytest.raises(ValueError, match="smoothing must be above 0 and at most 1, not 0"):
        find("colorization")(encoder, smoothing=0.0)
    with pytest.raises(ValueError, match="temperature must be above 0, not 0"):
        find("colorization")(encoder, temperature=0.0)
