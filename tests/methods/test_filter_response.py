"""The response of a fixed filter: targets, views and loss."""

import numpy as np
import pytest
import torch

from tests.methods.toys import batch, overfit
from withhold import data, nets, views
from withhold.contract import tiny
from withhold.errors import UsageError
from withhold.methods import build, find


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    method = build(find("filter_response"), nets.build("convnet", size=size, channels=channels), values)
    method.prepare(tiny.photographs())
    return method


@pytest.mark.parametrize(("of", "function"), [("edges", views.edges), ("corners", views.corners)])
def test_the_response_is_that_of_the_very_view_in_units_of_the_data(photos, of, function):
    method = make(of=of)
    view, response = method.hide(batch(photos))
    strengths = function(views.to_float(batch(photos, 256)["images"]))
    assert torch.allclose(response * strengths.std() + strengths.mean(), function(view), atol=1e-3)


@pytest.mark.parametrize("of", ["edges", "corners"])
def test_grey_data_are_standardised_as_a_colour_encoder_sees_them(photos, of):
    grey = data.load(photos[:128].mean(3, keepdims=True).round().astype(np.uint8), size=32)
    method = build(find("filter_response"), nets.build("convnet", size=32, channels=3), {"of": of})
    method.prepare(grey)
    response = torch.cat([method.hide({"images": grey.batch(np.arange(128))})[1] for _ in range(8)])
    assert abs(response.mean()) < 0.02 and response.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("of", ["edges", "corners"])
def test_the_response_is_as_precise_with_autocast(photos, of):
    method, found = make(of=of), []
    for enabled in (False, True):
        method.seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(method.hide(batch(photos))[1])
    assert torch.equal(*found)


def test_a_map_as_fine_as_the_image_is_refused():
    with pytest.raises(UsageError, match="map is as fine as the image"):
        build(find("filter_response"), nets.build("pixelconv", size=32, channels=3), {})


def test_the_loss_is_the_mean_squared_error_and_knowing_nothing_says_the_mean_of_each_place(photos):
    method = make()
    view, response = method.hide(batch(photos, 6))
    said = method.predict(view)
    terms, place = method.loss(said, response), response.mean(0)
    assert terms["loss"].item() == pytest.approx(
        sum(((said - response) ** 2).flatten().tolist()) / said.numel(), rel=1e-4
    )
    assert terms["trivial"].item() == pytest.approx(((response - place) ** 2).mean().item(), rel=1e-4)


@pytest.mark.parametrize("of", ["edges", "corners"])
def test_a_few_images_are_learned(photos, of):
    terms = overfit(make(of=of), **batch(photos, 4), seeds=range(30), lr=5e-3)[-1]
    assert terms["loss"] < 0.7 * terms["trivial"]


def test_a_flat_image_has_no_response_and_its_drawing_is_black():
    method = make()
    view, response = method.hide({"images": torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)})
    columns = method.picture(view, response, response)
    assert columns["true"].max() < 1e-3 and torch.equal(columns["true"], columns["said"])


def test_a_person_gets_a_map_of_the_image(photos):
    found = make().eval().apply_to(torch.from_numpy(photos[0]).permute(2, 0, 1))
    assert found["response"].pixels.shape == (1, 32, 32)
    assert found["response"].pixels.min() >= 0 and found["response"].pixels.max() <= 1
