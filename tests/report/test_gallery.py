"""The gallery of a report for methods with several streams."""

import base64
import copy
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from withhold import data, nets, views
from withhold.contract.tiny import RATE, sounds, tokenizer, videos
from withhold.errors import UsageError
from withhold.methods import ImageEncoder, Method, build, find, method
from withhold.orders import Balanced
from withhold.report import gallery


class Grey(torch.nn.Module):
    def forward(self, images):
        return images * 0 + 0.5


@method(paper="Author, Conference 2026", needs={"images": "image + number"}, family="verify")
class Numbered(Method):
    """Withholds the number of one of the images that it keeps; shows it."""

    order = {"images": Balanced("chosen")}

    def __init__(self, encoder: ImageEncoder):
        super().__init__(encoder)
        self.register_buffer("chosen", torch.arange(100) % 3 - 1)

    def withhold(self, images):
        return views.to_float(images[0]), images[1]

    def predict(self, seen):
        return seen.mean((1, 2, 3))

    def picture(self, seen, numbers, said=None):
        return {"seen": seen, "true": [str(number) for number in numbers.tolist()]}


def test_items_have_the_numbers_that_they_were_trained_with_and_come_in_the_methods_order(monkeypatch):
    numbered = Numbered(nets.build("convnet", size=8, channels=3)).eval()
    samples = data.load(
        np.arange(100, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3), size=8
    )
    trained = SimpleNamespace(
        cls=Numbered,
        method=numbered,
        config={"method": "numbered", "streams": {"images": {"fingerprint": samples.fingerprint}}},
    )
    shown = gallery.of_run(trained, [samples], seed=0)
    assert [round(float(255 * image.mean())) for image in shown["seen"]] == [int(number) for number in shown["true"]]
    assert all(int(number) % 3 for number in shown["true"])
    assert shown["true"] != gallery.of_run(trained, [samples], seed=1)["true"]
    with pytest.raises(UsageError, match=r"numbered can only show the items that it was trained on, and .* has others"):
        gallery.of_run(trained, [samples.select(range(50))], seed=0)


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


@pytest.mark.parametrize("name", ["mean_teacher", "mixmatch", "uda", "pseudo_label", "pi_model", "vat"])
def test_a_guess_stands_beside_an_unlabelled_image_when_those_are_few(name, monkeypatch):
    method = build(
        find(name), nets.build("convnet", size=16, channels=3), {"flip": 0.0}, {"classes": ("dark", "bright")}
    ).eval()
    seen = {}
    monkeypatch.setattr(gallery.pictures, "select", lambda columns, rows: seen.update(columns) or {})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 16, 16, 3), np.uint8)
    gallery.columns(method, [data.load((images, np.arange(12) % 2)), data.load(images[:3])], 0)
    assert {len(column) for column in seen.values()} == {3}


def test_a_picture_is_drawn_with_the_statistics_of_the_views_that_it_shows(monkeypatch):
    """As in training; a trained method has those of plain images, which turned ones are not."""
    method = build(find("rotation"), nets.build("convnet", size=16, channels=3), {}).eval()
    before = copy.deepcopy(method.state_dict())
    given = []
    monkeypatch.setattr(
        type(method), "picture", lambda self, turned, turns, scores: given.append((turned, scores)) or {}
    )
    images = np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)
    gallery.columns(method, [data.load(images)], 0)
    turned, scores = given[0]
    with torch.no_grad():
        assert not torch.allclose(scores, method.predict(turned), atol=1e-3)
        torch.testing.assert_close(scores, method.train().predict(turned), atol=0.02, rtol=0.02)  # n or n - 1 of them
    method.load_state_dict(before)


def test_a_clip_has_a_row_of_its_own_as_high_as_its_frames():
    clips = torch.rand(8, 10, 3, 24, 32)
    shown = {"seen": clips, "said": list("abcdefgh"), "true": list("ebcdefgh"), "image": clips[:, 0]}
    groups = gallery.picture(shown)
    assert len(groups) == gallery.CLIPS
    for group, sample in zip(groups, (0, 4, 7), strict=True):
        assert [row["title"] for row in group] == ["seen", "said", "true", "image"]
        ((strip,), (said,), _, (image,)) = (row["cells"] for row in group)
        assert picture_of(strip).size == (8 * 32, 24)
        assert strip["strip"] and strip["crisp"] and not image["strip"]
        first = np.asarray(picture_of(strip))[:, :32].transpose(2, 0, 1)
        assert np.abs(first - clips[sample, 0].numpy() * 255).max() <= 0.51
        assert said["right"] == (sample > 0)
    (((stills,),),) = [gallery.picture({"seen": clips[:, :1]})]
    assert len(stills["cells"]) == 8
    assert gallery.picture({}) == []


def test_the_neighbour_of_a_video_is_the_frame_in_its_middle(photo_samples):
    samples = videos(4, 8)
    (cell,) = gallery._items(samples, [1], nets.build("convnet", size=32, channels=3))
    assert (np.asarray(picture_of(cell)) == samples.read(np.array([1]))[0, 2]).all()


def test_a_text_begins_as_in_its_source_or_else_as_it_was_read(tmp_path):
    texts = ["Unheard-of: don't", *[f"{'the ship sails the sea ' * 5} {row}" for row in range(5)]]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    coder = tokenizer("words")
    encoder = nets.build("word-vectors", tokenizer=coder)
    for source, first in ((tmp_path / "texts.jsonl", "Unheard-of: don't"), (texts, "… … … … … … …")):
        samples = data.load(source, "text", tokenizer=coder, tokens=16)
        cells = gallery._items(samples, [0, 3], encoder)
        assert [cell["caption"] for cell in cells] == [
            first,
            "the ship sails the sea the ship sails the sea the ship…",
        ]


def picture_of(cell):
    return Image.open(io.BytesIO(base64.b64decode(cell["image"].split(",")[1])))


def test_a_sound_is_shown_as_its_spectrogram():
    (cell,) = gallery._items(sounds(1.0), [1], nets.build("audio-cnn", rate=RATE))
    assert cell["label"] == "1"
    with Image.open(io.BytesIO(base64.b64decode(cell["image"].split(",")[1]))) as image:
        assert image.size == (192, 96)
        bright = np.asarray(image).astype(int).mean(1).argmax()
    assert 19 < bright < 48, "a tone of about 1,000 Hz of 2,000 lies high in the picture"


@pytest.mark.parametrize("name", ["simclr", "moco", "byol", "lejepa"])
def test_what_two_views_withhold_is_the_other_view(name):
    method = build(find(name), nets.build("convnet", size=16, channels=3), {}).eval()
    images = np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)
    assert list(gallery.columns(method, [data.load(images)], 0)) == ["seen", "said", "other view"]
