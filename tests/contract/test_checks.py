"""Each check of the contract detects a method that breaks it and reports the problem in a sentence."""

import json

import numpy as np
import pytest
from PIL import Image

from withhold import contract
from withhold.cli import main
from withhold.contract import Trial, tiny
from withhold.contract.checks import checks
from withhold.errors import WithholdError
from withhold.methods import find
from withhold.needs import parse
from withhold.orders import Episodes

WHOLE = '''
import torch
from torch import nn

from withhold import views
from withhold.methods import Encoder, Method, Probability, method


@method(paper="Nobody, 2020", needs={"images": "image"}, family="reconstruct")
class Toy(Method):
    """Withholds the mean brightness of an image; predicts it from the rest.

    Args:
        noise: deviation of the noise on what is seen.
    """

    def __init__(self, encoder: Encoder, noise: Probability = 0.02):
        super().__init__(encoder)
        self.noise, self.head = noise, nn.Linear(encoder.dim, 1)
        self.register_buffer("steps", torch.zeros(()))

    def withhold(self, images):
        seen = views.to_float(images)
        brightness = seen.mean((1, 2, 3), keepdim=True)
        noise = self.noise * (1 + self.steps / 10) * torch.randn(seen.shape, generator=self.rng)
        return (seen + noise).clamp(0, 1), brightness.flatten(1)

    def predict(self, seen):
        return self.head(self.encoder(seen))

    def loss(self, predicted, brightness):
        return {"loss": (predicted - brightness).square().mean(), "trivial": brightness.var()}

    def after_step(self):
        self.steps += 1
'''
DEAD = 'type(self).learns = ""; [w.data.zero_() for w in encoder.parameters()]; self.noise, self.head'
BROKEN = [
    ("card", "noise: deviation", "deviation", "The docstring must explain the parameter noise under Args."),
    ("card", "noise: Probability = 0.02", "noise=0.02", "The parameter noise must have a type."),
    ("card", "noise", "seed", "Rename the parameter seed: `train` already has an option of that name."),
    (
        "gradients",
        "self.head(self.encoder(seen))",
        "self.encoder(seen) @ self.head.weight.T",
        "The weight head.bias receives no gradient",
    ),
    ("gradients", ".mean(), ", ".mean() / 0, ", "The loss must be finite, but is inf."),
    ("gradients", ".square().mean(), ", ".square().mean(1), ", r"The loss must be a scalar, but has the shape \[32\]"),
    ("seeds", ", generator=self.rng)", ")", "Draw all random numbers from self.rng."),
    ("seeds", "self.noise * ", "0 * ", "A different seed gives the same loss, although the method draws from self"),
    ("resume", 'self.register_buffer("steps", torch.zeros(()))', "self.steps = 1", "value after a resume"),
    ("learning", "(predicted - brightness)", "(0 * predicted - brightness)", "No learning: loss goes from"),
    (
        "learning",
        '(predicted - brightness).square().mean(), "trivial"',
        '0 * predicted.sum() - 1, "quiet"',
        "No learning",
    ),
    ("learning", "self.noise, self.head", DEAD, "The encoder has collapsed"),
    ("values", "self.noise, self.head", "assert noise > 0.015; self.noise, self.head", "noise=0.01: "),
    ("odd_batches", "views.to_float(images)", "views.to_float(images.reshape(16, -1, 3, 16, 16)[:, 0])", "is invalid"),
    ("cut_batches", ".square().mean(), ", ".square().sum(), ", "declare `compares = True`"),
    ("half_precision", "self.encoder(seen)", "self.exact(seen)", "The encoder runs in full precision"),
    ("picture", "return (seen + noise).clamp(0, 1)", "return 9 * seen", r"column seen must have values in \[0, 1\]"),
    (
        "picture",
        "    def after_step",
        "    def picture(self, *_):\n        return {}\n\n    def after_step",
        "has no columns",
    ),
    ("grey", "views.to_float(images)", "views.to_float(images).unflatten(1, (3, -1)).flatten(1, 2)", "unflatten"),
    ("network_for_colour", "clamp(0, 1), b", "clamp(0, 1).expand(-1, 3, -1, -1), b", r"1 channel, but has \{3\}"),
    ("sizes", "nn.Linear(encoder.dim, 1)", "nn.Linear(16 * encoder.size, 1)", "shapes cannot be multiplied"),
]
EXACT = """
    def exact(self, seen):
        with torch.autocast("cpu", enabled=False):
            return self.encoder(seen)
"""


@pytest.fixture
def toy(tmp_path):
    def make(before="", after=""):
        assert before in WHOLE
        file = tmp_path / "toy.py"
        file.write_text(WHOLE.replace(before, after) + (EXACT if "exact" in after else "") if before else WHOLE)
        return file

    return make


def named(cls, name):
    return next(check for check in checks(cls) if check.__name__ == name)


@pytest.mark.parametrize(("check", "before", "after", "sentence"), BROKEN)
def test_a_check_finds_what_breaks_it(toy, check, before, after, sentence):
    cls = find(str(toy(before, after)))
    with pytest.raises(Exception, match=sentence):
        named(cls, check)(Trial(cls, size=16))


def test_every_check_is_broken_once(toy):
    assert {check.__name__ for check in checks(find(str(toy())))} == {name for name, *_ in BROKEN}


def test_what_shows_that_it_learns_is_the_methods_to_say(toy):
    """With a moving target, no term is checked, or one that rises."""
    terms = '.mean() + self.steps, "sure": 1 + self.steps, "tired": -self.steps, "variance"'
    cls = find(str(toy('.mean(), "trivial"', terms)))
    for cls.learns in ("", "sure"):
        named(cls, "learning")(Trial(cls, size=16))
    cls.learns = "tired"
    with pytest.raises(WithholdError, match="No learning: tired goes from"):
        named(cls, "learning")(Trial(cls, size=16))
    cls.learns = "absent"
    with pytest.raises(WithholdError, match="`learns` names the term absent, but the loss does not return it"):
        named(cls, "learning")(Trial(cls, size=16))


def test_the_verb_prints_a_line_for_each_check_and_ends_with_1_where_one_fails(toy, capsys, monkeypatch):
    monkeypatch.setattr(contract.checks, "checks", lambda cls: [contract.checks.card, contract.checks.seeds])
    file = toy("self.noise * ", "0 * ")
    assert main(["check", str(file)]) == 1
    fine, bad, why = capsys.readouterr().out.splitlines()
    sentence = "The same seed gives the same loss, and a different seed gives a different loss."
    about = "The docstring says what the method withholds and explains every parameter."
    assert fine.startswith("ok") and fine.endswith(about)
    assert bad.startswith("FAILS") and bad.endswith(sentence)
    assert why.strip() == "A different seed gives the same loss, although the method draws from self.rng."
    assert main(["check", str(file), "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])["checks"]
    assert [entry["check"] for entry in found if entry["wrong"]] == [sentence]
    assert f"{file} failed 1 of {len(found)} checks" in err


def test_the_verb_takes_data_of_ones_own(toy, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for item in range(70):
        noise = rng.integers(0, 256, (40, 40, 3)) * item / 70
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"{item}.png")
    assert main(["check", str(toy()), "--data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok") and line.endswith(".") for line in lines)
    assert len(lines) == 13


def test_every_kind_that_a_stream_offers_is_checked(toy):
    cls = find(str(toy('"image"', '"image | audio"')))
    with pytest.raises(WithholdError, match="With data of the kind audio: "):
        named(cls, "alternatives")(Trial(cls))


def test_episodes_get_as_many_classes_as_they_have_ways():
    samples = tiny.stream(parse("audio + label"), {}, 32, 3, order=Episodes(ways=7))
    assert np.bincount(samples.labels).tolist() == [19, 18, 18, 19, 18, 18, 18]
    assert len(samples.classes) == 7


def test_what_there_are_no_tiny_data_of_is_asked_for(toy, capsys):
    assert main(["check", str(toy('"image"', '"hologram"'))]) == 1
    assert "There is no tiny data for hologram. Give your own: --data SOURCE" in capsys.readouterr().out
