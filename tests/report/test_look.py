"""The images that most activate the stages of an encoder, against loops and closed forms; and the page."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import withhold
from withhold import data, nets
from withhold.cli import main
from withhold.contract import tiny
from withhold.methods import find
from withhold.report import look
from withhold.report.excitation import Span, Stage, box, causes, class_maps, differing, excite, field, guided, purity


def build(name, size=32):
    torch.manual_seed(0)
    return nets.build(name, size=size, channels=3).eval()


@pytest.fixture(scope="module")
def images():
    return tiny.photographs().select(range(24))


@pytest.mark.parametrize("name", ["convnet", "resnet18", "efficientnet-lite0", "vit-tiny"])
def test_maxima_and_their_places_are_those_of_the_stages_maps(name, images):
    encoder, seen = build(name), []
    stages = excite(encoder, images, 3, seen.append)
    assert sum(seen) == 24
    assert (len(stages), stages[0].number, stages[-1].number) == (3, 1, len(encoder.stages()))
    with torch.no_grad():
        for stage in stages:
            maps = nets.maps_at(encoder, images.batch(range(24)) / 255, stage.number)
            assert stage.shape == maps.shape[1:]
            values = maps.flatten(2).gather(2, stage.places[..., None])[..., 0]
            torch.testing.assert_close(values, maps.amax((2, 3)), rtol=1e-3, atol=1e-2)
            torch.testing.assert_close(stage.maxima, values, rtol=1e-2, atol=1e-2)


def test_channels_that_differ_are_pivots():
    rng = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 50, generator=rng)
    maxima = torch.stack([a, 5 * a + 0.1 * b, torch.full((50,), 9.0), 3 * b, 2.9 * b + 0.01 * c, c], 1)
    assert differing(maxima, 3) == [1, 3, 5]
    assert len(differing(maxima, 6)) == 3  # the others tell nothing more, or are always the same
    assert differing(torch.ones(50, 4), 2) == []
    left = (maxima - maxima.mean(0)).double()
    for channel in differing(maxima, 3):  # Gram-Schmidt, step by step
        assert channel == left.norm(dim=0).argmax()
        direction = left[:, channel] / left[:, channel].norm()
        left = left - direction[:, None] * (direction @ left)


def test_the_field_of_a_layer_is_its_kernel_and_that_of_an_embedded_patch_the_patch():
    encoder = build("convnet")
    stages = [Stage(number, shape, *torch.zeros(2, 1, 1)) for number, shape in ((1, (32, 16, 16)), (4, (256, 4, 4)))]
    assert [(span.start, span.end, span.step) for span in field(encoder, stages[0])] == [(15, 18, 2)] * 2
    assert all(3 < span.end - span.start <= 32 for span in field(encoder, stages[1]))
    spans = field(build("vit-tiny"), Stage(1, (192, 8, 8), *torch.zeros(2, 1, 1)))
    assert [(span.start, span.end, span.step) for span in spans] == [(16, 20, 4)] * 2


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet", (32, 12, 12)), ("convnet", (32, 16, 16)), ("resnet18", (64, 32, 32)), ("vit-tiny", (192, 8, 8))],
)
def test_the_box_of_every_cell_holds_what_it_depends_on(name, shape):
    """Also where the convolutions reach no border, so that cells lie nearer to each other than size over cells."""
    size = 28 if name == "lenet" else 32
    encoder, stage = build(name, size), Stage(1, shape, *torch.zeros(2, 1, 1))
    noise, spans = torch.rand(2, 3, size, size).requires_grad_(), field(encoder, stage)
    maps, inside = nets.maps_at(encoder, noise, 1), []
    for place in range(shape[1] + 1, shape[1] * shape[2], shape[2] + 1):  # along the diagonal
        (slope,) = torch.autograd.grad(maps.flatten(2)[..., place].square().sum(), noise, retain_graph=True)
        inside.append((slope[:, :, *box(stage, place, spans, size)].square().sum() / slope.square().sum()).item())
    assert min(inside) > 0.8 and np.mean(inside) > 0.89


def test_boxes_have_one_size_and_lie_in_the_image():
    stage = Stage(1, (8, 4, 4), *torch.zeros(2, 1, 1))
    for place in range(16):
        y, x = box(stage, place, (Span(14, 26, 8), Span(17, 23, 8)), 32)
        assert (y.stop - y.start, x.stop - x.start) == (12, 6)
        assert min(y.start, x.start) >= 0 and max(y.stop, x.stop) <= 32
        assert y.start <= 8 * (place // 4) + 4 < y.stop and x.start <= 8 * (place % 4) + 4 < x.stop
    assert box(stage, 10, (Span(3, 9, 5), Span(0, 32, 8)), 32) == (slice(3, 9), slice(0, 32))
    assert box(stage, 6, (Span(3, 9, 3), Span(0, 32, 8)), 32) == (slice(0, 6), slice(0, 32))


def test_a_guided_gradient_is_that_of_the_positive_paths():
    torch.manual_seed(0)
    first, second = nn.Linear(5, 7), nn.Linear(7, 6)
    network = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU6(inplace=True))
    x = 9 * torch.randn(3, 5)
    with guided(network) as rectified:
        assert rectified
        seen = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(network(seen)[:, 2].sum(), seen)
    inner = first(x)
    outer = second(inner.relu())
    back = (outer[:, 2:3] > 0) * second.weight[2]
    expected = ((inner > 0) * back.clamp(min=0)) @ first.weight
    torch.testing.assert_close(found, expected)
    assert [part.inplace for part in network if hasattr(part, "inplace")] == [True, True]
    assert not any(part._forward_hooks or part._backward_hooks for part in network)
    with guided(nn.Linear(2, 2)) as rectified:
        assert not rectified


@pytest.mark.parametrize("stride", [1, 2])
def test_a_rectifier_that_is_used_twice_is_guided_as_two_are(stride):
    class Twice(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride, padding=1)])
            self.first, self.second = first, second

        def forward(self, x):
            return self.second(self.layers[1](self.first(self.layers[0](x))))

    same, x, found = nn.ReLU(), torch.rand(1, 3, 8, 8, requires_grad=True), []
    for pair in ((same, same), (nn.ReLU(), nn.ReLU())):
        with guided(network := Twice(*pair)):
            found += torch.autograd.grad(network(x).amax(), x)
    assert found[0].any()
    torch.testing.assert_close(*found)


def test_what_drives_a_cell_lies_in_its_field(images):
    encoder, stage = build("convnet"), Stage(2, (64, 8, 8), *torch.zeros(2, 1, 1))
    places = torch.tensor([17, 50])
    slope = causes(encoder, stage, 5, images.batch([0, 1]) / 255, places)
    for item, place in enumerate(places.tolist()):
        y, x = place // 8 * 4 + 2, place % 8 * 4 + 2
        outside = slope[item].clone()
        outside[:, max(0, y - 5) : y + 5, max(0, x - 5) : x + 5] = 0
        assert outside.abs().max() == 0 < slope[item].abs().max()


def test_purity():
    assert purity(torch.tensor([0, 2, 2, -1, 2])) == 0.75


@pytest.mark.parametrize("name", ["finetune", "uda"])
def test_class_maps_add_up_to_the_scores(name, images):
    encoder = build("convnet")
    classifier = find(name)(encoder, classes=("a", "b")).eval()
    with torch.no_grad():
        for head in classifier.heads():
            head.weight.normal_()
    pixels, classes = images.batch(range(6)) / 255, torch.tensor([0, 1] * 3)
    found = class_maps(classifier, pixels, classes)
    with torch.no_grad():
        head = classifier.heads()[-1]
        maps = torch.einsum("nd,ndhw->nhw", head.weight[classes], encoder.maps(pixels))
        scores = classifier.classify(pixels).gather(1, classes[:, None])[:, 0]
        torch.testing.assert_close(maps.mean((1, 2)) + head.bias[classes], scores, rtol=1e-3, atol=1e-3)
    positive = maps.clamp(min=0)
    positive = positive / positive.amax((1, 2), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(found, F.interpolate(positive[:, None], (32, 32), mode="bilinear")[:, 0])
    assert not any(part._forward_hooks for part in classifier.modules())


def test_features_that_are_no_mean_of_maps_have_no_class_map(images):
    encoder = build("convnet")
    classifier = find("finetune")(encoder, classes=("a", "b")).eval()
    encoder.forward = lambda items: encoder.maps(items).amax((2, 3))
    assert class_maps(classifier, images.batch([0]) / 255, torch.tensor([0])) is None


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    for i in range(24):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photos[i]).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("known", [1, 8])
def test_purity_is_of_channels_with_two_labelled_images_or_more(folder, capsys, known):
    rows = [f"photos/{'ab'[i % 2]}/{i}.png,{'ab'[i % 2] if i < known else ''}" for i in range(24)]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    assert main(["look", "convnet", "list.csv", "--out", "look.html", "--json"]) == 0
    shares = [stage["purity"] for stage in json.loads(capsys.readouterr().out.splitlines()[-1])["stages"]]
    assert shares == [None] * 4 if known == 1 else all(0.5 <= share <= 1 for share in shares)
    assert "nan %" not in (folder / "look.html").read_text("utf-8")


def test_the_page_of_a_run_that_names_classes(folder, capsys):
    withhold.train("finetune", "photos/", encoder="convnet", epochs=1, out="run", batch_size=8)
    assert main(["look", "run", "photos/", "--out", "look.html", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [stage["number"] for stage in found["stages"]] == [1, 2, 3, 4] and found["classes"] == ["a", "b"]
    assert all(len(set(stage["channels"])) == 8 and 0.5 < stage["purity"] <= 1 for stage in found["stages"])
    page = (folder / "look.html").read_text("utf-8")
    assert len(re.findall("<img", page)) == 2 * (4 * 8 + 2)
    assert "the guided gradient of these values" in page
    assert re.search(r"On average, \d+ % of the nine images of a channel are of one class\.", page)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert main(["look", "run", "photos/", "--out", "look.html"]) == 0  # its own may be replaced


def test_the_page_of_a_transformer_as_it_is(folder, monkeypatch):
    monkeypatch.setattr(look, "STAGES", 2)
    monkeypatch.setattr(look, "CHANNELS", 3)
    assert main(["look", "vit-tiny", "photos/", "--out", "look.html"]) == 0
    page = (folder / "look.html").read_text("utf-8")
    assert "192 channels on 8 × 8 positions" in page and "the gradient of these values" in page
    assert "<h2>Class maps" not in page


def test_what_is_no_encoder_of_images_is_refused(folder, capsys):
    (folder / "0.wav").write_bytes(data.sounds.encode(np.zeros(8000, np.int16), 8000))
    assert main(["look", "audio-cnn", "0.wav", "--out", "look.html"]) == 2
    assert "audio-cnn is an encoder of audio data. Give an image encoder." in capsys.readouterr().err
    assert not (folder / "look.html").exists()
