"""What a report shows of methods with several streams."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.methods.streams import RATE, sounds
from withhold import data, nets
from withhold.methods import build, find
from withhold.runs import gallery


class Grey(torch.nn.Module):
    def forward(self, images):
        return images * 0 + 0.5


@pytest.mark.parametrize(("first", "second"), [(4, 12), (12, 4)])
def test_each_image_is_translated_out_of_its_own_domain_whatever_the_domains_sizes(first, second, monkeypatch):
    method = build(find("cyclegan"), nets.build("convnet", size=16, channels=3), {"width": 4}).eval()
    method.to_first, method.to_second = torch.nn.Identity(), Grey()
    seen = {}
    monkeypatch.setattr(gallery.pictures, "select", lambda columns, rows: seen.update(columns) or {})
    dark, bright = np.zeros((first, 16, 16, 3), np.uint8), np.full((second, 16, 16, 3), 255, np.uint8)
    gallery.columns(method, [data.load(dark), data.load(bright)], 0)
    is_first = seen["seen"].mean((1, 2, 3)) < 0.5
    assert 0 < is_first.sum() < len(is_first)
    assert torch.equal(seen["translated"].mean((1, 2, 3)) == 0.5, is_first)


@pytest.mark.parametrize("name", ["mean_teacher", "mixmatch", "uda"])
def test_a_guess_stands_beside_an_unlabelled_image_when_those_are_few(name, monkeypatch):
    method = build(find(name), nets.build("convnet", size=16, channels=3), {"flip": 0.0}, ("dark", "bright")).eval()
    seen = {}
    monkeypatch.setattr(gallery.pictures, "select", lambda columns, rows: seen.update(columns) or {})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 16, 16, 3), np.uint8)
    gallery.columns(method, [data.load((images, np.arange(12) % 2)), data.load(images[:3])], 0)
    assert {len(column) for column in seen.values()} == {3}


def test_a_sound_is_shown_as_its_spectrogram():
    cell = gallery._item(sounds(1.0), 1, nets.build("audio-cnn", rate=RATE))
    assert cell["label"] == "1"
    with Image.open(io.BytesIO(base64.b64decode(cell["image"].split(",")[1]))) as image:
        assert image.size == (101, 40)
        bright = np.asarray(image).astype(int).mean(1).argmax()
    assert 8 < bright < 20, "a tone of about 1,000 Hz of 2,000 lies high in the picture"
