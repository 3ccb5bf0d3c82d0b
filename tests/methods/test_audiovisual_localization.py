import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.test_audiovisual_embedding import RATE
from tests.methods.toys import overfit
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import build, find


def make(**values):
    torch.manual_seed(0)
    return build(find("audiovisual_localization"), nets.build("audiovisual", size=32, channels=3, rate=RATE), values)


def pairs(n=16, seed=0, both=False):
    """Pictures with a red or a blue square in one quarter, or with both, and tones: low for red, high for blue.

    Gives the batch, and the quarter of the one that sounds [n].
    """
    rng = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 60, (n, 1, 3, 32, 32), generator=rng)
    quarters = torch.rand(n, 4, generator=rng).argsort(1)[:, :2]
    sounding = torch.arange(n) % 2
    for picture, places, sounds in zip(pictures, quarters.tolist(), sounding.tolist(), strict=True):
        for color in (0, 1) if both else (sounds,):
            top, left = (16 * part + 2 for part in divmod(places[color], 2))
            picture[:, 2 * color, top : top + 12, left : left + 12] = 230
    waves = 8000 * torch.sin(2 * math.pi * (200 + 1000 * sounding)[:, None] * torch.arange(RATE // 4) / RATE)
    batch = {"clips": (pictures.to(torch.uint8), waves.to(torch.int16))}
    return batch, quarters[torch.arange(n), sounding]


def test_the_loss_is_binary_cross_entropy_of_every_picture_with_every_sound():
    method = make()
    rng = torch.Generator().manual_seed(0)
    places, heard = torch.randn(3, 2, 128, 4, 4, generator=rng), torch.randn(3, 128, generator=rng)
    method.scale.data.fill_(0.1)
    method.bias.data.fill_(-0.5)
    expected, right = 0.0, 0.0
    for i in range(3):
        for j in range(3):
            products = [
                0.1 * sum(float(a) * float(b) for a, b in zip(places[i, t, :, y, x], heard[j], strict=True)) - 0.5
                for t in range(2)
                for y in range(4)
                for x in range(4)
            ]
            score = math.log(sum(map(math.exp, products)) / 32)
            assert min(products) < score < max(products)
            share = 1 / 6 if i == j else 1 / 12  # half of the weight each
            expected += share * math.log1p(math.exp(-score if i == j else score))
            right += share * ((score > 0) == (i == j))
    terms = method.loss((places, heard), None)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert terms["accuracy"].item() == pytest.approx(right)
    assert terms["trivial"] == math.log(2)
    assert method.loss((0 * places, heard + method.bias), None)["loss"].item() == pytest.approx(
        (math.log1p(math.exp(0.5)) + math.log1p(math.exp(-0.5))) / 2
    )
    assert method.loss((places[:1], heard[:1]), None)["loss"].isfinite(), "a batch of one has no wrong sound"


def test_one_good_place_is_enough_when_similarities_have_grown():
    method = make()
    method.scale.data.fill_(1.0)
    places, heard = torch.zeros(1, 1, 128, 4, 4), torch.zeros(1, 128)
    heard[0, 0], places[0, 0, 0] = 1.0, -20.0
    assert method.judge(places, heard) == -20
    places[0, 0, 0, 1, 2] = 20.0
    assert method.judge(places, heard).item() == pytest.approx(20 - math.log(16))


def test_an_empty_place_that_goes_best_with_everything_stops_no_other_from_learning():
    """Were the largest similarity alone to count, none but the empty place would hear of the loss."""
    method = make()
    rng = torch.Generator().manual_seed(0)
    heard = torch.randn(4, 128, generator=rng)
    places = torch.randn(4, 1, 128, 4, 4, generator=rng)
    places[:, 0, :, 0, 0] = 2 * heard.mean(0)
    places.requires_grad_()
    assert (method.maps(places, heard).flatten(1).argmax(1) == 0).all()
    method.loss((places, heard), torch.tensor([1, 2, 3, 0]))["loss"].backward()
    assert (places.grad.abs().sum(2) > 1e-6).all()


def test_it_learns_where_a_sound_comes_from_and_another_sound_moves_the_place():
    method = make(flip=0.0)
    terms = overfit(method, pairs(32)[0], range(50), lr=1e-3)
    assert terms[-1]["loss"] < 0.9 * terms[-1]["trivial"]  # half of the others' sounds are right ones
    others, quarters = pairs(64, seed=1, both=True)
    seen, heard = views.to_float(others["clips"])
    nets.refresh_statistics(method.encoder, [(seen, heard)])
    method.eval()
    with torch.no_grad():
        places, sounds = method.predict((seen, heard))

    def quarter(maps):
        best = maps.flatten(1).argmax(1)
        return 2 * (best // 4 // 2) + best % 4 // 2

    # A place sees 37 pixels, so that the peak may lie just beyond the square's quarter.
    assert (quarter(method.maps(places, sounds)) == quarters).float().mean() > 0.6
    swapped = quarter(method.maps(places, sounds.roll(1, 0)))  # low for high
    assert (swapped == quarters).float().mean() < 0.2


def test_it_draws_the_place_over_the_picture():
    method = make().eval()
    clips = tuple(part[:4] for part in pairs()[0]["clips"])
    with torch.no_grad():
        drawn = [method.apply_to(clip) for clip in zip(*clips, strict=True)]
        maps = method.maps(*method.predict(views.to_float(clips)))
    found = {name: torch.stack([answers[name].pixels for answers in drawn]) for name in drawn[0]}
    assert {name: images.shape[1:] for name, images in found.items()} == {
        "seen": (3, 32, 32), "heard": (1, 40, 26), "place": (3, 32, 32),
    }  # fmt: skip
    torch.testing.assert_close(found["seen"], clips[0][:, 0] / 255)
    whole = F.interpolate(maps, (32, 32), mode="bilinear")
    for image, heat in zip(found["place"], whole[:, 0], strict=True):
        assert image[0].flatten()[heat.argmax()] == pytest.approx(1)  # red at its peak ...
        assert image[1].flatten()[heat.argmax()] == pytest.approx(0, abs=1e-6)
        coldest = heat.argmin()
        torch.testing.assert_close(
            image[0].flatten()[coldest], image[1].flatten()[coldest]
        )  # ... and grey where it is least


def test_both_trunks_and_the_scale_learn():
    method = make()
    visible, others = method.hide(pairs()[0])
    assert not any(part.requires_grad for part in visible)
    method.loss(method.predict(visible), others)["loss"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="flip"):
        make(flip=-1.0)
