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


def test_the_best_place_decides():
    method = make()
    rng = torch.Generator().manual_seed(0)
    places, heard = torch.randn(3, 2, 128, 4, 4, generator=rng), torch.randn(3, 128, generator=rng)
    method.scale.data.fill_(0.1)
    method.bias.data.fill_(-0.5)
    others = torch.tensor([2, 0, 1])
    expected, right = 0.0, 0
    for i in range(3):
        for j, match in ((i, True), (int(others[i]), False)):
            products = [
                0.1 * sum(float(a) * float(b) for a, b in zip(places[i, t, :, y, x], heard[j], strict=True)) - 0.5
                for t in range(2)
                for y in range(4)
                for x in range(4)
            ]
            best = max(products)
            expected += math.log1p(math.exp(-best if match else best))
            right += (best > 0) == match
    terms = method.loss((places, heard), others)
    assert terms["loss"].item() == pytest.approx(expected / 6, rel=1e-4)
    assert terms["accuracy"].item() == pytest.approx(right / 6)
    assert terms["trivial"] == math.log(2)


def test_one_place_of_a_picture_and_nothing_else_gets_the_gradient():
    method = make()
    places = torch.randn(1, 1, 128, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    heard = torch.randn(1, 128, generator=torch.Generator().manual_seed(1))
    method.maps(places, heard).flatten(1).amax(1).sum().backward()
    touched = (places.grad[0, 0] != 0).any(0)
    assert touched.sum() == 1
    assert touched.flatten().nonzero().item() == method.maps(places, heard).argmax().item()


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

    assert (quarter(method.maps(places, sounds)) == quarters).float().mean() > 0.8
    swapped = quarter(method.maps(places, sounds.roll(1, 0)))  # low for high
    assert (swapped == quarters).float().mean() < 0.2


def test_it_draws_the_place_over_the_picture():
    method = make().eval()
    clips = tuple(part[:4] for part in pairs()[0]["clips"])
    with torch.no_grad():
        found = method.apply_to(clips)
        maps = method.maps(*method.predict(views.to_float(clips)))
    assert {name: images.shape[1:] for name, images in found.items()} == {
        "seen": (3, 32, 32), "heard": (1, 40, 26), "place": (3, 32, 32),
    }  # fmt: skip
    torch.testing.assert_close(found["seen"], clips[0][:, 0] / 255)
    whole = F.interpolate(maps, (32, 32), mode="bilinear")
    for image, heat in zip(found["place"], whole[:, 0], strict=True):
        assert image[0].flatten()[heat.argmax()] == 1  # red at its peak ...
        assert image[1].flatten()[heat.argmax()] == 0
        coldest = heat.argmin()
        assert image[0].flatten()[coldest] == image[1].flatten()[coldest]  # ... and grey where it is least


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
