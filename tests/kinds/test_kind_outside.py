"""A kind of data in a file outside the package: found, decoded, trained on, evaluated, embedded and shown."""

import numpy as np
import pytest
import torch

import withhold
from withhold import data, evaluation, kinds, search
from withhold.errors import UsageError
from withhold.evaluation import supervised
from withhold.kinds import traits

FILE = '''
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from withhold import data, kinds, nets
from withhold.data.kind import Shape, Unreadable
from withhold.methods import Encoder, Method, method


@data.register
@dataclass(frozen=True)
class Curves(data.Kind):
    """Curves in files with one number per line, as rows int16 [s], cut into windows of `points`."""

    points: int = 8

    name, noun = "curve", "curve"
    endings = (".curve",)
    columns = ("curve", "path")
    window = property(lambda self: self.points)
    key = "curve"
    at_once = 16

    def measure(self, item):
        return {}

    def shape(self, table, where):
        return Shape()

    def decode(self, item):
        try:
            return np.loadtxt(item, dtype=np.int16, ndmin=1)
        except ValueError as error:
            raise Unreadable("no numbers") from error


@kinds.register
class CurveTraits(kinds.Traits):
    name = "curve"
    control = "points"

    def show(self, item):
        return {"text": "a curve"}


class CurveEncoder(Encoder):
    kind = "curve"

    def __init__(self, points):
        super().__init__(dim=4)
        self.layer = nn.Linear(points, 4)

    def forward(self, curves):
        return self.layer(curves)


@nets.registry.register
def curves(points: int) -> Encoder:
    return CurveEncoder(points)


@method(paper="Nobody, 2026", needs={"curves": "curve"}, family="reconstruct")
class Straighten(Method):
    """Withholds the curve; predicts it from a noisy one."""

    def __init__(self, encoder: Encoder, points: int = 8):
        super().__init__(encoder)
        self.head = nn.Linear(4, points)

    def withhold(self, curves):
        curves = curves.float() / 32768
        return curves + 0.1 * torch.randn(curves.shape, generator=self.rng), curves

    def predict(self, noisy):
        return self.head(self.encoder(noisy))

    def loss(self, predicted, curves):
        return {"loss": (predicted - curves).square().mean()}
'''


@pytest.fixture
def folder(tmp_path):
    """40 curves in two classes, rising and falling, and the file that declares the kind of data."""
    rng = np.random.default_rng(0)
    for number in range(40):
        name = ("rising", "falling")[number % 2]
        curve = (1 - 2 * (number % 2)) * np.linspace(-9000, 9000, 8 + number % 3 * 8) + rng.normal(0, 500)
        (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
        np.savetxt(tmp_path / "data" / name / f"{number}.curve", curve.astype(int), fmt="%d")
    (tmp_path / "straighten.py").write_text(FILE)
    yield tmp_path
    data.opening.KINDS.pop("curve", None)
    traits._TRAITS.pop("curve", None)


def test_a_kind_is_one_file(folder):
    source = str(folder / "data")
    file = str(folder / "straighten.py")
    run = withhold.train(file, source, encoder=file, epochs=20, out=folder / "run")
    losses = [row["loss"] for row in run.rows()]
    assert losses[-1] < losses[0]
    assert "a curve" in (run.folder / "report.html").read_text(encoding="utf-8")
    rows = run.evaluate(source, protocols=("knn",))
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "points"}
    assert {row["value"] for row in rows if row["encoder"] == "points"} == {1.0}
    curves = run.load_data(source)
    learner = supervised.train(run.untrained(), curves, learned=False, images=80, seed=0, device=torch.device("cpu"))
    assert evaluation.scores(learner, curves).shape == (40, 2)
    index = search.build(run.embed(source), folder / "index")
    found = index.query("rising/0.curve", 3)
    page = search.write_page(folder / "found.html", index, "rising/0.curve", found)
    assert page.read_text(encoding="utf-8").count("a curve") == 4


def test_an_unknown_kind_is_named():
    with pytest.raises(UsageError, match="There is no kind of data 'curve'"):
        kinds.of("curve")


def test_every_kind_that_can_be_decoded_can_be_shown_and_measured():
    for name in data.opening.KINDS:
        assert kinds.of(name).name == name
    assert kinds.of("video + audio").batch == 64
