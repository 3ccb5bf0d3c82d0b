"""Restoration: dirt, rain and noise, and how well they are removed."""

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import batch, overfit, smooth_images
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("restoration"), nets.build("pixelconv", size=size, channels=channels), values)


def test_the_loss_is_the_square_error_and_the_gain_that_over_leaving_all_as_it_is(photos):
    method = make()
    seen, (clean, same) = method.hide(batch(photos, 4))
    assert torch.equal(seen, same)
    restored = torch.lerp(seen, clean, 0.9)
    terms = method.loss(restored, (clean, seen))
    assert terms["loss"].item() == pytest.approx(F.mse_loss(restored, clean).item(), rel=1e-5)
    assert terms["trivial"].item() == pytest.approx(F.mse_loss(seen, clean).item(), rel=1e-5)
    assert terms["gain"].item() == pytest.approx(20, abs=1e-3), "an error of a tenth is 20 decibels less"


def test_it_starts_from_changing_nothing(photos):
    method = make()
    seen, withheld = method.hide(batch(photos, 4))
    assert torch.equal(method.predict(seen), seen)
    assert method.loss(seen, withheld)["gain"] == 0


@pytest.mark.parametrize(("corruption", "least"), [("dirt", 3.0), ("rain", 0.3), ("noise", 0.3)])
def test_each_corruption_is_removed_from_a_batch_that_is_learned_by_heart(photos, corruption, least):
    """And what is learned there does less harm to clean photographs than the corruption does."""
    method = make(corruption=corruption)
    last = overfit(method, batch(photos, 8), seeds=[0] * 60)[-1]
    assert last["gain"] > least
    with torch.no_grad():
        _, (clean, _) = method.hide(batch(photos, 8))
        assert F.mse_loss(method.predict(clean), clean) < last["trivial"]


def test_a_pixel_depends_on_the_twelve_around_it_alone():
    """Which is what photographs are restored by strips for."""
    method = make().eval()
    torch.nn.init.normal_(method.paint.weight)
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[:, :, 16, 16] = 0
    with torch.no_grad():
        moved = (method.predict(image) != method.predict(changed)).any(1)[0].nonzero()
    assert moved.min() == 4 and moved.max() == 28


@pytest.mark.parametrize("shape", [(3, 300, 40), (1, 40, 30), (3, 256, 8)])
def test_photographs_of_any_shape_are_restored_as_they_are_whole(shape):
    method = make().eval()
    torch.nn.init.normal_(method.paint.weight, std=0.1)
    image = (255 * torch.rand(shape)).byte()
    with torch.no_grad():
        answers = {name: answer.pixels for name, answer in method.apply_to(image).items()}
        whole = method.predict(views.with_channels(views.to_float(image[None]), 3))[0]
    assert answers["restored"].shape == answers["seen"].shape == (3, *shape[1:])
    assert torch.allclose(answers["restored"], whole, atol=1e-4)


def test_larger_specks_and_more_of_them_hide_more():
    images = smooth_images(64, 32)
    errors = [make(**values)({"images": images})["trivial"] for values in ({"cover": 0.1}, {}, {"cover": 1.0})]
    assert errors[0] < errors[1] < errors[2]


def test_it_needs_a_network_with_features_for_every_pixel():
    with pytest.raises(UsageError, match="restoration takes an encoder of the class PixelConv, not ConvNet"):
        build(find("restoration"), nets.build("convnet", size=32, channels=3), {})


@pytest.mark.parametrize("wrong", [{"corruption": "snow"}, {"speck": 3}, {"cover": 1.5}])
def test_a_value_out_of_range_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        find("restoration")(nets.build("pixelconv", size=32, channels=3), **wrong)


def test_rain_bends_what_is_there_and_dirt_covers_it():
    plain = torch.full((4, 3, 32, 32), 128, dtype=torch.uint8)
    cost = {}
    for corruption in ("dirt", "rain"):
        method = make(corruption=corruption)
        seen, withheld = method.hide({"images": plain})
        cost[corruption] = method.loss(seen, withheld)["trivial"].item()
    assert cost["rain"] < 1e-6
    assert cost["dirt"] > 1e-3


def test_specks_are_as_large_as_asked_for(photos):
    small, large = (make(speck=speck).hide(batch(photos, 4))[0] for speck in (4, 16))
    assert not torch.allclose(small, large)
