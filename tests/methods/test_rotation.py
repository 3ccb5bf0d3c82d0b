import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods.image.rotation import Rotation


def make(size=32, channels=3):
    torch.manual_seed(0)
    return Rotation(nets.build("convnet", size=size, channels=channels))


def test_each_image_is_seen_in_all_four_turns_and_the_label_is_the_turn():
    turned, turns = make().hide({"images": random_images(5)})
    assert turned.shape == (20, 3, 32, 32)
    for i in range(5):
        upright = turned[i]
        for turn in range(4):
            row = turn * 5 + i
            assert turns[row] == turn
            for y, x in [(0, 0), (0, 31), (3, 20), (31, 7)]:
                y_from, x_from = y, x
                for _ in range(turn):  # a quarter turn against the clock takes the pixel of row x, column 31 - y
                    y_from, x_from = x_from, 31 - y_from
                assert torch.equal(turned[row, :, y, x], upright[:, y_from, x_from])


def test_no_pixel_statistic_tells_the_turn():
    turned, _ = make().hide({"images": random_images(6)})
    values = turned.flatten(2).sort(2).values.view(4, 6, 3, -1)
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])
    assert torch.equal(values[0], values[3])


def test_loss_is_the_cross_entropy_of_the_four_turns():
    method = make()
    scores, turns = torch.randn(8, 4), torch.arange(4).repeat_interleave(2)
    shares = [math.exp(row[turn]) / sum(map(math.exp, row)) for row, turn in zip(scores.tolist(), turns, strict=True)]
    expected = -sum(map(math.log, shares)) / 8
    assert method.loss(scores, turns)["loss"].item() == pytest.approx(expected, rel=1e-5)
    alike = method.loss(torch.zeros(8, 4), turns)
    assert alike["loss"].item() == pytest.approx(alike["trivial"])


def test_images_that_look_alike_in_all_turns_teach_nothing():
    """Were borders or interpolation to give the turn away, these would be learned too."""
    method = make()
    flat = random_images(16, size=1).expand(16, 3, 32, 32).contiguous()
    method.eval()
    with torch.no_grad():
        turned, _ = method.hide({"images": flat})
        scores = method.predict(turned).view(4, 16, 4)
    assert torch.allclose(scores[0], scores[1], atol=1e-5)
    assert torch.allclose(scores[0], scores[2], atol=1e-5)


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(), smooth_images(16), seeds=[0] * 12)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


def test_the_picture_names_the_turns():
    method = make(channels=1)
    turned, turns = method.hide({"images": random_images(2, channels=1)})
    columns = method.picture(turned, turns, F.one_hot(turns, 4).float())
    assert columns["true"] == columns["said"] == ["0°", "0°", "90°", "90°", "180°", "180°", "270°", "270°"]
    assert torch.equal(columns["seen"], turned)
