"""Tiny data exists for every kind and every part, and methods that need it are checked against the contract."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from withhold import data
from withhold.contract import Trial, tiny
from withhold.contract.checks import card, gradients, picture, resume
from withhold.contract.trial import CPU
from withhold.methods import Encoder, Method, method
from withhold.needs import parse
from withhold.training import defaults

FRAMES, SOUND, TOKENS = (8, 3, 32, 32), (4000,), (32,)
IMAGE = (3, 32, 32)


@pytest.mark.parametrize(
    ("need", "shapes"),
    [
        ("image", IMAGE),
        ("image + label", (IMAGE, ())),
        ("image + mask + boxes + number", (IMAGE, (32, 32), (2, 6), ())),
        ("image + targets + domain", (IMAGE, {"photograph": (), "lightness": ()}, ())),
        ("image | text + label", (IMAGE, ())),
        ("image + text", (IMAGE, TOKENS)),
        ("video + poses", (FRAMES, (12,))),
        ("video + audio + label", (FRAMES, SOUND, ())),
        ("text + text", (TOKENS, TOKENS)),
        ("audio + number", (SOUND, ())),
    ],
)
def test_a_batch_holds_what_the_need_names(need, shapes):
    streams = {"stream": tiny.stream(parse(need), {}, 32, 3)}
    batch = data.Feeder(streams, {"stream": parse(need)}, 6, 0).batch(0)["stream"]
    assert tree_map(lambda part: tuple(part.shape[1:]), batch) == shapes


def test_parts_are_of_the_item_beside_them():
    need = parse("image + mask + boxes + targets")
    samples = tiny.stream(need, {}, 32, 3)
    images, (mask, boxes, targets) = samples.batch([4, 5]).float(), samples.beside(need, [4, 5])
    light = images.mean(1) / 255
    assert torch.equal(mask.bool(), light > light.mean((1, 2), keepdim=True))
    assert torch.allclose(targets["lightness"], light.mean((1, 2)))
    assert targets["photograph"].tolist() == [0, 1]
    assert boxes[0, 1].isnan().all() and not boxes[1, 1].isnan().any()
    assert (boxes[:, 0, 2:4] - boxes[:, 0, :2] == 16).all()


@method(paper="Nobody, 2020", needs={"images": "image + targets + poses"}, family="verify")
class Columns(Method):
    """Withholds every column of a table, and a pose; predicts each with its own head."""

    def __init__(self, encoder: Encoder, targets: dict):
        super().__init__(encoder)
        self.targets = targets
        widths = {name: len(classes or [name]) for name, classes in targets.items()} | {"pose": 12}
        self.heads = nn.ModuleDict({name: nn.Linear(encoder.dim, width) for name, width in widths.items()})

    def withhold(self, images):
        seen, targets, poses = images
        return seen / 256 + torch.rand(seen.shape, generator=self.rng) / 256, targets | {"pose": poses}

    def predict(self, seen):
        features = self.encoder(seen)
        return {name: head(features) for name, head in self.heads.items()}

    def loss(self, predicted, withheld):
        named = [F.cross_entropy(predicted[n], withheld[n]) for n, classes in self.targets.items() if classes]
        numbers = [(predicted[n][:, 0] - withheld[n]).square().mean() for n, c in self.targets.items() if c is None]
        return {"loss": sum(named + numbers) + (predicted["pose"] - withheld["pose"]).square().mean()}


@pytest.mark.parametrize("check", [card, gradients, resume, picture])
def test_a_method_of_further_columns_is_told_them_and_keeps_the_contract(check):
    assert Trial(Columns).make().targets == {"photograph": ["0", "1"], "lightness": None}
    check(Trial(Columns))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("image", "convnet"), ("video", "conv3d"), ("audio", "audio-cnn"), ("text", "word-vectors")],
)
def test_what_takes_any_encoder_gets_that_of_its_kind(kind, name):
    assert defaults.encoder(Columns, CPU, kind) == name
