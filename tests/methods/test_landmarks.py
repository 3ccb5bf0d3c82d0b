"""Landmarks: positions of points, their heat maps, and no other path for positions."""

import math

import numpy as np
import pytest
import torch

from tests.methods.toys import batch, overfit, random_images
from withhold import nets
from withhold.methods import build, find
from withhold.methods.image import landmarks


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("landmarks"), nets.build("fineconv", size=size, channels=channels), values)


def test_a_point_is_the_mean_over_its_maps_rows_and_columns():
    method = make(size=24, points=3).eval()
    images = random_images(2, size=24) / 255
    maps = 5 * method.pose(method.encoder.maps(images))
    method.pose.weight.data *= 5
    method.pose.bias.data *= 5
    places = method.points(images)
    assert places.shape == (2, 3, 2)
    for n in range(2):
        for k in range(3):
            for axis in (0, 1):
                lines = maps[n, k].tolist() if axis else maps[n, k].T.tolist()
                weights = [math.exp(sum(line) / len(line)) for line in lines]
                expected = sum((cell + 0.5) / 6 * w for cell, w in enumerate(weights)) / sum(weights)
                assert places[n, k, axis].item() == pytest.approx(expected, abs=1e-5)
    assert places.std() > 0.01


def test_points_are_drawn_as_bells_beside_how_things_look():
    method = make(points=2, width=0.3).eval()
    drawn = []
    method.decoder.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
    looks, places = torch.rand(1, 64, 8, 8), torch.tensor([[[0.3, 0.8], [0.5, 0.1]]])
    method.draw(looks, places)
    assert torch.equal(drawn[0][:, :64], looks)
    for k, (x, y) in enumerate((2 * places[0] - 1).tolist()):
        for row in range(8):
            for column in range(8):
                u, v = (2 * column + 1) / 8 - 1, (2 * row + 1) / 8 - 1
                expected = math.exp(-((u - x) ** 2 + (v - y) ** 2) / 0.3**2)
                assert drawn[0][0, 64 + k, row, column].item() == pytest.approx(expected, abs=1e-5)


def test_both_views_are_warps_of_the_image_and_know_where_it_ends(photos, monkeypatch):
    method = make(size=24, bend=0.1)
    (source, target), (again, inside) = method.hide({"images": torch.full((50, 3, 24, 24), 255, dtype=torch.uint8)})
    assert target is again
    torch.testing.assert_close(target, inside.expand_as(target))
    assert inside[:, :, 11:13, 11:13].min() > 0.99
    assert inside.amin((1, 2, 3)).max() < 0.5
    assert (source - target).abs().amax((1, 2, 3)).min() > 0.1
    monkeypatch.setattr(landmarks, "WARP", {})
    still = make(bend=0.0)
    (source, target), (_, inside) = still.hide(batch(photos))
    torch.testing.assert_close(source, batch(photos)["images"] / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(source, target)
    assert inside.min() > 1 - 1e-5


def test_the_error_is_that_of_pixels_of_the_image():
    method = make(size=8)
    target, said = torch.rand(2, 4, 3, 8, 8)
    inside = torch.rand(4, 1, 8, 8).where(torch.rand(4, 1, 8, 8) > 0.3, 0.0)
    total = weight = 0.0
    for n in range(4):
        for y in range(8):
            for x in range(8):
                share = inside[n, 0, y, x].item()
                total += share * (said[n, :, y, x] - target[n, :, y, x]).square().sum().item()
                weight += 3 * share
    terms = method.loss(said, (target, inside))
    assert terms["loss"].item() == pytest.approx(total / weight, rel=1e-4)
    assert terms["psnr"].item() == pytest.approx(-10 * math.log10(total / weight), rel=1e-4)
    inside = inside + 0.1  # so that every pixel is of some image
    weights = inside.expand_as(target).numpy()
    constant = torch.from_numpy(np.average(target.numpy(), 0, weights)).requires_grad_()
    terms = method.loss(constant.expand_as(target), (target, inside))
    terms["loss"].backward()
    assert constant.grad.abs().max() < 1e-6, "the loss is convex in the answer, and flat at its least"
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-4)


def test_the_target_is_seen_through_its_points_alone():
    method = make().eval()
    visible, _ = method.hide({"images": random_images(4)})
    source, target = visible
    said = method.predict(visible)
    places = method.points(target)
    method.points = lambda images: places
    torch.testing.assert_close(method.predict((source, torch.zeros_like(target))), said)
    assert (method.predict((source.flip(0), target)) - said).abs().max() > 1e-4
    places = places + 0.2
    assert (method.predict(visible) - said).abs().max() > 1e-4


def test_the_encoder_learns_where_things_are_and_not_how_they_look():
    method = make()
    visible, withheld = method.hide({"images": random_images(4)})
    source, target = (images.requires_grad_() for images in visible)
    method.loss(method.predict((source, target)), (target.detach(), withheld[1]))["loss"].backward()
    assert source.grad.abs().sum() > 0
    assert target.grad.abs().sum() > 0
    assert all(weight.grad.abs().sum() > 0 for weight in method.encoder.parameters())
    (places,) = torch.autograd.grad(method.points(source).sum(), method.appearance.parameters(), allow_unused=True)[:1]
    assert places is None


def test_a_batch_is_learned_by_heart(photos):
    terms = overfit(make(), **batch(photos, 16), seeds=[0] * 25)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


def test_the_points_of_a_wide_image_are_in_its_pixels():
    method = make(points=2).eval()
    method.points = lambda images: torch.tensor([[[0.5, 0.25], [0.0, 1.0]]])
    with torch.inference_mode():
        shown = method.apply_to(random_images(1, size=60)[0, :, 10:50])
    assert shown["points"].names == ["0", "1"]
    assert shown["points"].places.tolist() == [[30, 10], [10, 40]]
    marked = shown["marked"].pixels
    assert marked.shape == (3, 32, 32)
    assert marked[:, 7:9, 15:17].min() > 0.5
    assert marked[:, 20:, 10:].max() <= 0.5
    assert method.says()["points"] is method.points


def test_when_training_ends_every_network_has_the_statistics_of_plain_images(photos):
    method = make().eval()
    plain = batch(photos)["images"] / 255
    method.finish(lambda: [plain])
    encoder = make().encoder
    nets.refresh_statistics(encoder, [plain])
    assert all(torch.equal(value, encoder.state_dict()[key]) for key, value in method.encoder.state_dict().items())
    seen = []
    method.decoder.layers[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.predict((plain, plain))
    torch.testing.assert_close(method.decoder.layers[1].running_mean, seen[0].mean((0, 2, 3)), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("wrong", [{"points": 0}, {"width": 0.0}, {"bend": -0.1}])
def test_a_value_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        find("landmarks")(nets.build("convnet", size=32, channels=3), **wrong)


def test_the_points_of_a_tall_image_are_in_its_pixels():
    method = make(points=2).eval()
    method.points = lambda images: torch.tensor([[[0.5, 0.25], [0.0, 1.0]]])
    with torch.inference_mode():
        shown = method.apply_to(random_images(1, size=60)[0, :, :, 10:50])
    assert shown["points"].places.tolist() == [[20, 20], [0, 50]]


@pytest.mark.parametrize("size", [28, 32, 36])
def test_a_point_moves_by_as_many_pixels_as_what_it_follows(size):
    """Also where the last cells hang over the image's edge."""
    method = make(size=size, points=1).eval()
    cells = method.encoder.grid
    said = []
    for place in (1, 2):
        maps = torch.full((1, 1, cells, cells), -50.0)
        maps[..., place] = 50.0
        method.encoder.maps = lambda images, maps=maps: maps
        method.pose = torch.nn.Identity()
        said.append(method.points(torch.zeros(1, 3, size, size))[0, 0, 0].item() * size)
    assert said[1] - said[0] == pytest.approx(method.encoder.stride, abs=1e-3)
    assert said[0] == pytest.approx(1.5 * method.encoder.stride, abs=1e-3)
