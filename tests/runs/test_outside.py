"""Methods and encoders in files outside the package: executed if the user names them, never because a run does."""

import json

import pytest

import withhold
from withhold import nets, outside
from withhold.cli import main
from withhold.errors import UsageError

ENCODER = '''
import torch
from torch import nn

from withhold.nets import ImageEncoder, register


@register
class Mine(ImageEncoder):
    """One convolution."""

    def __init__(self, size: int, channels: int, width: int = 24):
        super().__init__(dim=width, channels=channels, size=size, stride=4)
        self.convolution = nn.Conv2d(channels, width, 4, stride=4)

    def encode(self, x):
        return torch.relu(self.convolution(x))
'''
METHOD = '''
from pathlib import Path

from torch import nn

from withhold import views
from withhold.methods import Encoder, Method, method

Path("executed").touch()


@method(paper="Nobody, 2020", needs={"images": "image"}, family="reconstruct")
class Toy(Method):
    """Withholds the mean brightness of an image; predicts it from the rest."""

    def __init__(self, encoder: Encoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 1)

    def withhold(self, images):
        seen = views.to_float(images)
        return seen, seen.mean((2, 3))[:, :1]

    def predict(self, seen):
        return self.head(self.encoder(seen))

    def loss(self, predicted, brightness):
        return {"loss": (predicted - brightness).square().mean()}
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "mine.py").write_text(ENCODER)
    (tmp_path / "toy.py").write_text(METHOD)
    return tmp_path


def elsewhere(monkeypatch, folder):
    """As on a machine where nobody has named a file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "another"))
    (folder / "executed").unlink(missing_ok=True)


def test_an_encoder_in_any_file_is_trained_and_evaluated(folder, capsys):
    before = nets.names()
    assert main(["train", "rotation", "digits", "--encoder", "./mine.py", "--epochs", "1", "--out", "run"]) == 0
    assert main(["evaluate", "run", "digits", "--protocol", "knn", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    assert {row["encoder"] for row in rows} >= {"trained", "untrained"}
    run = withhold.load("run")
    assert run.config["encoder"] == {"name": "./mine.py", "pretrained": False, "size": 32, "channels": 1}
    assert (type(run.encoder).__name__, run.encoder.dim) == ("Mine", 24)
    assert nets.names() == before


def test_a_file_declares_one_encoder(folder):
    (folder / "none.py").write_text(ENCODER.replace("@register", ""))
    with pytest.raises(UsageError, match=r"none.py declares 0 encoders with @register; it must declare exactly one"):
        nets.build("none.py", size=32, channels=3)
    with pytest.raises(UsageError, match=r"no encoder file 'absent.py'\. Give the path of a Python file"):
        nets.takes("absent.py")
    with pytest.raises(UsageError, match=r"mine.py is an encoder for other data: these have no size and no channels"):
        nets.build("mine.py", rate=16_000)
    with pytest.raises(UsageError, match=r"mine.py has no pretrained weights"):
        nets.build("mine.py", size=32, channels=3, pretrained=True)
    with pytest.raises(UsageError, match=r"Images of 2 pixels are too small for mine.py\. Use 4 or more"):
        nets.build("mine.py", size=2, channels=3)


@pytest.mark.parametrize("fault", ["def withhold(self):", "import nothing_that_is_installed", "1 / 0"])
def test_a_file_that_fails_is_named(folder, fault):
    (folder / "mine.py").write_text(fault)
    with pytest.raises(UsageError, match=r"mine\.py cannot be executed \(\w+Error: .*\)\. Fix the file"):
        withhold.methods.find("./mine.py")


def test_a_strangers_run_executes_nothing(folder, monkeypatch):
    withhold.train("./toy.py", "digits", encoder="./mine.py", epochs=0.1, out="run")
    assert (folder / "executed").exists()
    assert withhold.load("run").method.head.out_features == 1  # made on this machine
    elsewhere(monkeypatch, folder)
    with pytest.raises(
        UsageError, match=r"made with the Python file ./toy.py, .* is not trusted here\. .* add --trust FILE"
    ):
        withhold.load("run")
    with pytest.raises(UsageError, match=r"made with the Python file ./mine.py"):
        withhold.load("run", method="./toy.py")
    assert not (folder / "executed").exists()
    (folder / "toy.py").rename(folder / "moved.py")
    assert withhold.load("run", method="./moved.py", encoder="./mine.py").method.head.out_features == 1


def test_what_has_changed_since_it_was_named_is_another_file(folder):
    outside.trust("toy.py")
    assert outside.trusted("toy.py")
    (folder / "toy.py").write_text(METHOD + "\n")
    assert not outside.trusted("toy.py")
    assert not outside.trusted("absent.py")


def test_the_command_line_executes_what_it_is_told_to_trust(folder, monkeypatch, capsys):
    withhold.train("./toy.py", "digits", epochs=0.1, out="run")
    elsewhere(monkeypatch, folder)
    assert main(["doctor", "run"]) == 2
    assert "add --trust FILE" in capsys.readouterr().err
    assert main(["doctor", "run", "--trust", "./toy.py"]) == 0
    assert main(["doctor", "run"]) == 0  # it was named
    assert main(["doctor", "run", "--trust", "./absent.py"]) == 2
