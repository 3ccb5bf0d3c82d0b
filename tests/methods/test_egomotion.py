"""Egomotion: the views of the cameras, their poses, and shortcuts that are excluded."""

import cmath
import math

import pytest
import torch

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods import build, find
from withhold.methods.image import egomotion


def make(size=32, channels=3, encoder="convnet", **values):
    torch.manual_seed(0)
    return build(find("egomotion"), nets.build(encoder, size=size, channels=channels), values)


@pytest.fixture
def plain(monkeypatch):
    """Views in the image's own colours."""
    monkeypatch.setattr(egomotion, "JITTER", None)


def ramps(n, size=32):
    """Images whose red is the place from left to right, and whose green that from top to bottom; whole numbers."""
    place = torch.arange(size, dtype=torch.uint8) * (255 // size)
    planes = torch.stack(
        [place.expand(size, size), place[:, None].expand(size, size), torch.zeros_like(place).expand(size, size)]
    )
    return planes.expand(n, 3, size, size)


def stood(view, mirrored, size=32):
    """Where the camera stood that saw a view of `ramps`, as right + down * i in pixels from the middle; its turn; and
    how many pixels of the image a pixel of the view is wide."""
    x, y = (view[channel].double() * 255 / (255 // size) - (size - 1) / 2 for channel in (0, 1))
    x = -x if mirrored else x
    side = len(x)
    right = complex((x[:, 1:] - x[:, :-1]).mean(), (y[:, 1:] - y[:, :-1]).mean())
    assert side == size
    return complex(x.mean(), y.mean()), cmath.phase(right), abs(right)


def test_the_answer_is_how_the_camera_moved_in_the_frame_half_way(plain):
    method = make(shift=0.3, degrees=20.0, shifts=5, turns=8)
    both, chosen = method.hide({"images": ramps(200)})
    seen = set()
    for before, after, answer in zip(*both.chunk(2), chosen.tolist(), strict=True):
        mirrored = bool((before[0, :, 1:] < before[0, :, :-1]).all())
        (first, from_, width), (last, to, _) = (stood(view, mirrored) for view in (before, after))
        move = (last - first) / (width * 32) * cmath.exp(-0.5j * (from_ + to))
        motion = move.real / 0.3, move.imag / 0.3, math.degrees(to - from_) / 20
        assert [math.floor((m + 1) / 2 * count) for m, count in zip(motion, (5, 5, 8), strict=True)] == answer
        seen.add(mirrored)
    assert seen == {False, True}
    assert [part.unique().tolist() for part in chosen.unbind(1)] == [[*range(5)], [*range(5)], [*range(8)]]


@pytest.mark.parametrize("values", [{}, {"shift": 0.9, "degrees": 45.0}, {"shift": 0.01, "degrees": 1.0}])
def test_no_view_reaches_over_the_border_and_none_could_be_larger(plain, values):
    white = torch.full((500, 1, 16, 16), 255, dtype=torch.uint8)
    method = make(size=16, channels=1, **values)
    assert method.hide({"images": white})[0].min() > 1 - 1e-5
    shift, angle = method.shift, torch.tensor([math.radians(method.degrees)])
    farthest = shift * (0.5 + (1 - 1j) / 2 * (0.5j * angle).exp())
    whole = white[:1] / 255
    assert method.look(whole, farthest, angle).min() > 1 - 1e-5
    method.share *= 1.1
    assert method.look(whole, farthest, angle).min() < 0.99


def test_each_view_has_colours_of_its_own():
    grey = torch.full((50, 3, 32, 32), 100, dtype=torch.uint8)
    before, after = make().hide({"images": grey})[0].mean((2, 3)).chunk(2)
    assert ((before - after).abs().amax(1) > 0.01).float().mean() > 0.8


def test_the_loss_is_the_sum_of_the_axes():
    method = make(shifts=3, turns=4)
    scores, chosen = (
        torch.randn(6, 10),
        torch.tensor([[0, 1, 2], [2, 0, 3], [1, 1, 0], [0, 2, 1], [2, 2, 2], [1, 0, 3]]),
    )
    expected = 0.0
    for row, answer in zip(scores.tolist(), chosen.tolist(), strict=True):
        for part, right in zip((row[:3], row[3:6], row[6:]), answer, strict=True):
            expected -= math.log(math.exp(part[right]) / sum(map(math.exp, part)))
    terms = method.loss(scores, chosen)
    assert terms["loss"].item() == pytest.approx(expected / 6, rel=1e-5)
    assert terms["turn_accuracy"].item() == pytest.approx(
        sum(row[6:].argmax() == answer[2] for row, answer in zip(scores, chosen, strict=True)) / 6
    )
    assert method.loss(torch.zeros(6, 10), chosen)["loss"].item() == pytest.approx(terms["trivial"])


def test_views_are_compared_place_by_place():
    """What both maps have everywhere alike is taken away, and only angles between places count."""
    method = make().eval()
    compared = []
    method.top.register_forward_pre_hook(lambda _, inputs: compared.append(inputs[0]))
    both, _ = method.hide({"images": random_images(2)})
    method.predict(both)
    maps = method.encoder.maps(both)
    first, second = maps[1].flatten(1), maps[3].flatten(1)
    for p in (0, 7, 15):
        for q in (0, 4, 15):
            a, b = (m[:, place] - m.mean(1) for m, place in ((first, p), (second, q)))
            cosine = (a @ b) / (a.norm() * b.norm())
            assert compared[0][1, 16 * p + q].item() == pytest.approx(cosine.item(), abs=1e-4)


@pytest.mark.parametrize(("encoder", "size", "cells"), [("convnet", 32, 4), ("fineconv", 96, 8), ("vit-tiny", 32, 8)])
def test_fine_maps_are_compared_coarsely(encoder, size, cells):
    method = make(size, encoder=encoder)
    assert method.top[0].in_features == cells**4
    assert torch.isfinite(method({"images": random_images(3, size=size)})["loss"])


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(), smooth_images(16), seeds=[0] * 15)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


def test_the_picture_says_the_motion_in_words():
    method = make(shift=0.2, degrees=30.0, shifts=3, turns=2)
    both, _ = method.hide({"images": random_images(2)})
    chosen = torch.tensor([[0, 1, 1], [2, 0, 0]])
    scores = torch.zeros(2, 8)
    scores[0, [0, 4, 7]] = scores[1, [2, 3, 6]] = 1.0
    columns = method.picture(both, chosen, scores)
    assert columns["true"] == columns["said"] == ["-13 +0 +15°", "+13 -13 -15°"]
    assert torch.equal(columns["seen"][1, :, 1:33, 35:67], both[3])


@pytest.mark.parametrize("wrong", [{"shift": 0.0}, {"shift": 1.0}, {"degrees": 50.0}, {"shifts": 1}, {"turns": 1}])
def test_a_value_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        find("egomotion")(nets.build("convnet", size=32, channels=3), **wrong)
