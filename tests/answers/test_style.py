"""Style transfer: style features and stylised images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from withhold import nets
from withhold.answers import style
from withhold.cli import main
from withhold.errors import UsageError


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return nets.build("convnet", size=32, channels=3)


@pytest.fixture
def pair(photos):
    return [torch.from_numpy(photos[place].copy()).permute(2, 0, 1) for place in (0, 1)]


def test_a_style_is_what_occurs_together_wherever_it_does():
    features = torch.randn(1, 3, 4, 5)
    expected = torch.zeros(3, 3)
    for y in range(4):
        for x in range(5):
            expected += features[0, :, y, x, None] * features[0, None, :, y, x] / 20
    torch.testing.assert_close(style.gram(features)[0], expected)
    shuffled = features.flatten(2)[..., torch.randperm(20)].unflatten(2, (4, 5))
    torch.testing.assert_close(style.gram(shuffled), style.gram(features))
    assert style.relative(shuffled, features) > 0.5
    assert style.relative(1.1 * features, features).item() == pytest.approx(0.01, rel=1e-4)


def test_maps_are_what_the_stages_give(encoder):
    images = torch.rand(2, 3, 40, 24)
    encoder.eval()
    last = encoder.maps(images)
    first, found = style.maps(encoder, images, [0, 3])
    torch.testing.assert_close(found, last)
    assert first.shape == (2, 32, 20, 12)
    assert not any(part._forward_hooks for part in encoder.modules())


def test_the_picture_has_the_style_and_is_nearer_to_its_own_content(encoder, pair):
    content, other = pair
    seen = []
    picture = style.stylize(
        encoder, content, other, size=32, steps=25, weight=5, report=lambda *errors: seen.append(errors)
    )
    assert picture.shape == (3, 32, 32)
    assert 0 <= picture.min() <= picture.max() <= 1
    before = style.scaled(content, 32, 3), style.scaled(other, 32, 3)
    places = [0, 1, 2, 3]

    def apart(image, goal):
        both = zip(style.maps(encoder, image, places), style.maps(encoder, goal, places), strict=True)
        return sum(style.relative(style.gram(a), style.gram(b)).item() for a, b in both) / 4

    assert apart(picture[None], before[1]) == pytest.approx(seen[-1][1], rel=1e-3)
    assert seen[-1][1] < 0.5 * apart(before[0], before[1])
    own, others = (style.maps(encoder, image, [2])[0] for image in before)
    (drawn,) = style.maps(encoder, picture[None], [2])
    assert style.relative(drawn, own).item() == pytest.approx(seen[-1][0], rel=1e-3)
    assert style.relative(drawn, own) < style.relative(drawn, others)
    losses = [content_error + 5 * style_error for content_error, style_error in seen]
    assert losses[-1] < losses[0]


def test_more_weight_draws_more_of_the_style_and_less_of_the_content(encoder, pair):
    ends = []
    for weight in (1, 100):
        seen = []
        style.stylize(
            encoder, *pair, size=32, steps=15, weight=weight, report=lambda *errors, seen=seen: seen.append(errors)
        )
        ends.append(seen[-1])
    assert ends[1][0] > 1.5 * ends[0][0] and ends[1][1] < 0.7 * ends[0][1]


def test_a_step_that_is_too_long_is_shortened(encoder, pair):
    """With a large weight, the first full step is; the errors fall all the same."""
    seen = []
    style.stylize(encoder, *pair, size=32, steps=6, weight=1e4, report=lambda *errors: seen.append(errors))
    assert seen[-1][1] < 0.6 * seen[0][1]


def test_the_image_changes_in_long_waves(encoder, pair, monkeypatch):
    """Without units, which is the same as changing pixels, the change is rougher."""
    roughness = []
    plain = style.scaled(pair[0], 32, 3)[0]
    for same in (False, True):
        if same:
            monkeypatch.setattr(style, "units", lambda height, width: torch.ones(height, width // 2 + 1))
        change = style.stylize(encoder, *pair, size=32, steps=10) - plain
        roughness.append(((change[:, 1:] - change[:, :-1]).square().mean() / change.square().mean()).item())
    assert roughness[0] < 0.7 * roughness[1]


def test_units_fall_with_the_frequency():
    found = style.units(6, 8)
    assert found.shape == (6, 5) and found.mean().item() == pytest.approx(1)
    assert (found[0, 1] / found[0, 4]).item() == pytest.approx(4)  # a period of 8 pixels, and of 2
    assert (found[1, 0] / found[3, 0]).item() == pytest.approx(3)
    torch.testing.assert_close(found[1], found[5])  # -1 / 6
    assert found[0, 0] == found[0, 1]  # the mean: as the longest wave


def test_images_keep_their_shape_and_grey_encoders_get_lightness(encoder):
    wide = torch.zeros(3, 30, 60, dtype=torch.uint8)
    assert style.scaled(wide, 32, 1).shape == (1, 1, 16, 32)
    picture = style.stylize(encoder, wide, wide, size=32, steps=1)
    assert picture.shape == (3, 16, 32)


def test_an_encoder_without_maps_is_refused(encoder, monkeypatch):
    wide = torch.zeros(3, 30, 60, dtype=torch.uint8)
    tokens, sentence = (
        nets.build("vit-tiny", size=32, channels=3),
        r"for images of 32 x 16 pixels\. Give a convolutional encoder, such",
    )
    with pytest.raises(UsageError, match=sentence):
        style.stylize(tokens, wide, wide, size=32)
    monkeypatch.setattr(encoder, "encode", lambda x: x @ x)  # which wants squares
    with pytest.raises(UsageError, match=sentence):
        style.stylize(encoder, wide, wide, size=32)


def test_the_verb_writes_a_picture(tmp_path, photos, capsys):
    for name, photo in zip("ab", photos, strict=False):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    given = ["stylize", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--encoder", "convnet", "--steps", "3"]
    out = tmp_path / "picture.png"
    assert main([*given, "--size", "32", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["style_error"] > 0
    with Image.open(out) as image:
        assert image.size == (32, 32)
        assert np.abs(np.asarray(image).astype(int) - photos[0]).max() > 0
    assert main([*given, "--size", "32", "--out", str(out)]) == 0  # its own may be replaced
    assert main([*given, "--out", str(tmp_path / "a.png")]) == 2
    assert main([*given, "--size", "8", "--out", str(out)]) == 2
