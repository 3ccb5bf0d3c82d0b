"""The split-brain autoencoder: two halves, each trained to predict the input of the other."""

import math

import pytest
import torch
from sklearn.metrics import log_loss

from tests.methods.toys import batch, overfit
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import build, find


def make(size=32):
    torch.manual_seed(0)
    return build(find("split_brain"), nets.build("split-convnet", size=size, channels=3), {})


def plain(*lab):
    """An image of one colour of CIE Lab, float [1, 3, 32, 32]."""
    return views.lab_to_rgb(torch.tensor(lab).view(1, 3, 1, 1)).expand(-1, -1, 32, 32)


def test_a_target_is_of_the_four_by_four_pixels_of_its_cell(monkeypatch):
    method, seen = make(size=33), []
    rgb_to_lab = views.rgb_to_lab
    monkeypatch.setattr(views, "rgb_to_lab", lambda images: seen.append(images) or rgb_to_lab(images))
    view, _ = method.hide({"images": torch.randint(0, 256, (2, 3, 33, 33), dtype=torch.uint8)})
    for row, column in ((0, 0), (7, 3), (8, 8)):
        cell = view[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        torch.testing.assert_close(seen[0][:, :, row, column], cell.mean((2, 3)))


def test_the_loss_is_the_sum_of_both_log_losses(photos):
    method = make()
    _, bins = method.hide(batch(photos, 3))
    predicted = [torch.randn(3, count, 8, 8) for count in (261, 50)]
    terms = method.loss(predicted, bins)
    for name, scores, true in zip(("color", "lightness"), predicted, bins, strict=True):
        shares = scores.double().softmax(1).movedim(1, -1).flatten(0, 2)
        expected = log_loss(true.flatten(), shares, labels=range(scores.shape[1]))
        assert terms[name].item() == pytest.approx(expected, rel=1e-4)
    assert terms["loss"].item() == pytest.approx((terms["color"] + terms["lightness"]).item(), rel=1e-5)


def test_trivial_is_the_loss_of_the_best_constant_answer(photos):
    method = make()
    _, bins = method.hide(batch(photos))
    shares = [
        true.flatten().bincount(minlength=count) / true.numel() for true, count in zip(bins, (261, 50), strict=True)
    ]
    constant = [(share + 1e-12).log().view(1, -1, 1, 1).expand(32, -1, 8, 8) for share in shares]
    terms = method.loss(constant, bins)
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-4)
    assert 0 < terms["trivial"] < math.log(261) + math.log(50)


@pytest.mark.parametrize(("lab", "color", "level"), [((51.0, 41.0, 19.0), [40, 20], 25), ((1.0, 0.0, 0.0), [0, 0], 0)])
def test_the_bins_are_those_of_the_colour(lab, color, level):
    method = make()
    _, (colors, levels) = method.hide({"images": plain(*lab)})
    assert colors.shape == levels.shape == (1, 8, 8)
    assert method.palette[colors[0, 0, 0]].tolist() == color
    assert (levels == level).all()


def test_white_is_in_the_last_bin_of_lightness():
    _, (_, levels) = make().hide({"images": torch.ones(1, 3, 32, 32)})
    assert (levels == 49).all()


def test_neither_half_sees_what_it_is_to_predict():
    """Of images of one lightness the first half says the same, of images of one colour the second."""
    method = make().eval()
    with torch.no_grad():
        color, lightness = method.predict(torch.cat([plain(50.0, 40.0, 20.0), plain(50.0, -30.0, 10.0)]))
        assert torch.allclose(color[0], color[1], atol=1e-2)
        assert not torch.allclose(lightness[0], lightness[1], atol=1e-2)
        color, lightness = method.predict(torch.cat([plain(40.0, 10.0, 10.0), plain(60.0, 10.0, 10.0)]))
        assert torch.allclose(lightness[0], lightness[1], atol=1e-2)
        assert not torch.allclose(color[0], color[1], atol=1e-2)


def test_each_loss_teaches_one_half(photos):
    method = make()
    visible, bins = method.hide(batch(photos, 4))
    method.loss(method.predict(visible), bins)["color"].backward()
    assert all(weight.grad is not None for weight in method.encoder.lightness.parameters())
    assert all(weight.grad is None for weight in method.encoder.color.parameters())


def test_a_batch_is_learned_by_heart(photos):
    history = overfit(make(), batch(photos, 8), seeds=[0] * 40)
    assert history[-1]["loss"] < 0.5 * history[-1]["trivial"]
    assert history[-1]["accuracy"] > history[0]["accuracy"] + 0.2


@pytest.mark.parametrize("size", [28, 30, 64])
def test_every_place_has_two_answers(size):
    method = make(size)
    visible, bins = method.hide({"images": torch.rand(2, 3, size, size)})
    for scores, true in zip(method.predict(visible), bins, strict=True):
        assert scores.shape[2:] == true.shape[1:] == (-(-size // 4),) * 2


def test_grey_images_and_other_networks_are_refused():
    with pytest.raises(UsageError, match="needs colour images, and these are grey"):
        nets.build("split-convnet", size=32, channels=1)
    with pytest.raises(UsageError, match="split_brain takes an encoder of the class SplitConvNet, not ConvNet"):
        build(find("split_brain"), nets.build("convnet", size=32, channels=3), {})
