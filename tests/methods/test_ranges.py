"""The range of a parameter is declared in its type, and checked however a method is made."""

import math
from typing import Annotated, Literal

import pytest

from withhold.contract import Trial
from withhold.errors import UsageError
from withhold.methods import Count, Method, Range, Share, Stages, build, card, configure, find, method, parameters
from withhold.methods.ranges import convert, describe
from withhold.nets import ConvNet, Encoder

WRONG = {
    "barlow_twins": [{"redundancy": -1.0}, {"projection": 0}, {"hidden": 0}],
    "byol": [{"momentum": 1.5}, {"projection": 0}, {"hidden": 0}],
    "dann": [{"weight": -1.0}, {"hidden": 0}],
    "dino": [{"momentum": 1.0}, {"prototypes": 0}, {"temperature": 0.0}, {"local_views": -1}],
    "fast_swa": [{"weight": -1.0}, {"moments": 0}, {"noise": -1.0}],
    "fixmatch": [{"weight": -1.0}, {"confidence": 1.0}, {"magnitude": 31.0}],
    "freematch": [{"weight": -1.0}, {"fairness": -1.0}, {"memory": 1.0}, {"magnitude": 31.0}],
    "i_jepa": [{"momentum": 1.5}, {"width": 40}, {"depth": 0}, {"blocks": 0}],
    "ict": [{"weight": -1.0}, {"alpha": 0.0}],
    "jigen": [{"weight": -1.0}, {"shuffled": 0.0}, {"orders": 1}, {"grid": 4}, {"flip": 2.0}],
    "lejepa": [{"views": 1}, {"balance": 0.0}, {"slices": 0}, {"projection": 0}],
    "lga": [{"weight": -1.0}, {"rate": 0.0}, {"adversarial": -1.0}, {"radius": 0.0}],
    "mae": [{"mask": 0.0}, {"mask": 1.0}, {"width": 40}, {"width": 0}, {"depth": 0}],
    "mean_teacher": [{"weight": -1.0}, {"noise": -0.1}],
    "mixmatch": [{"weight": -1.0}, {"copies": 0}, {"temperature": 0.0}, {"alpha": 0.0}],
    "mixmixup": [{"weight": -1.0}, {"temperature": 0.0}, {"alpha": 0.0}],
    "moco": [{"queue": 0}, {"momentum": 1.0}, {"temperature": 0.0}, {"parts": 0}],
    "pi_model": [{"weight": -1.0}, {"noise": -0.1}],
    "pseudo_label": [{"weight": -1.0}, {"confidence": 1.0}],
    "remixmatch": [{"weight": -1.0}, {"copies": 0}, {"anchor": -1.0}, {"rotation": -1.0}, {"alpha": 0.0}],
    "simclr": [{"temperature": 0.0}, {"crop": 0.0}, {"crop": 1.5}, {"strength": -1.0}],
    "simgan": [{"weight": -1.0}, {"warmup": -1}, {"pool": 0}, {"width": 0}, {"blocks": 0}],
    "simsiam": [{"projection": 0}, {"hidden": 0}, {"bottleneck": 0}],
    "skipgram": [{"window": 0}, {"negatives": 0}, {"sample": 0.0}, {"tokens": 0}, {"power": -0.5}, {"power": 30}],
    "sntg": [{"weight": -1.0}, {"graph": -1.0}, {"margin": 0.0}],
    "swav": [{"prototypes": 0}, {"queue": 0}, {"temperature": 0.0}, {"smoothness": 0.0}],
    "temporal_ensembling": [{"weight": -1.0}, {"memory": 1.0}, {"noise": -0.1}],
    "uda": [{"weight": -1.0}, {"temperature": 0.0}, {"confidence": 1.0}, {"magnitude": 31.0}],
    "uda_text": [{"share": 1.1}, {"share": -0.1}, {"weight": -1.0}, {"temperature": 0.0}, {"confidence": 1.0}],
    "vadd": [{"weight": -1.0}, {"changed": 1.1}, {"dropout": 1.0}],
    "vat": [{"weight": -1.0}, {"entropy": -0.1}, {"radius": 0.0}],
    "vicreg": [{"invariance": 0.0}, {"variance": -1.0}, {"covariance": -1.0}, {"projection": 0}],
}
"""For each method, values that are out of range, one at a time."""


@method(paper="Nobody, 2020", needs={"images": "image"}, family="verify")
class Toy(Method):
    """Withholds nothing."""

    def __init__(
        self,
        encoder: Encoder,
        momentum: Share = 0.5,
        width: Annotated[int, Range(least=32, multiple=32)] = 32,
        grid: Literal[2, 3] | None = None,
        betas: tuple[Annotated[float, Range(above=0)], float] = (0.9, 0.99),
        queue: Count | None = 4,
        stages: Stages = None,
    ):
        super().__init__(encoder)
        self.momentum, self.width, self.grid, self.betas, self.queue = momentum, width, grid, betas, queue


@pytest.fixture(scope="module")
def encoder():
    return ConvNet(32, 3)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0."),
        ({"momentum": -0.1}, "momentum must be at least 0 and below 1, not -0.1."),
        ({"momentum": math.nan}, "momentum must be at least 0 and below 1, not nan."),
        ({"momentum": "slow"}, "momentum must be a number, not slow."),
        ({"width": 0}, "width must be at least 32 and a multiple of 32, not 0."),
        ({"width": 40}, "width must be at least 32 and a multiple of 32, not 40."),
        ({"width": 64.5}, "width must be a whole number, not 64.5."),
        ({"width": math.inf}, "width must be a whole number, not inf."),
        ({"grid": 4}, "grid must be one of 2, 3, not 4."),
        ({"betas": (0.0, 1.0)}, "betas must be above 0, not 0.0."),
        ({"betas": (0.5,)}, "betas must be 2 numbers separated by commas, not (0.5,)."),
        ({"queue": 0}, "queue must be at least 1, not 0."),
        ({"stages": -1}, "stages must be a whole number, at least 0 or all or none, not -1."),
    ],
)
def test_a_value_out_of_range_is_refused_however_a_method_is_made(encoder, values, sentence):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        Toy(encoder, **values)
    assert str(raised.value) == sentence
    with pytest.raises(UsageError) as refused:
        build(Toy, encoder, values)
    assert str(refused.value) == f"test_ranges: {sentence}"


def test_values_in_range_arrive_as_their_type(encoder):
    made = Toy(encoder, 0, 64, grid=3, betas=[1, 2], queue=None)
    assert (made.momentum, made.width, made.grid, made.betas, made.queue) == (0.0, 64, 3, (1.0, 2.0), None)
    values = {"momentum": "0.25", "width": "96", "grid": "2", "betas": "0.5,0.9", "queue": "none"}
    assert configure(Toy, values) == {
        "momentum": 0.25,
        "width": 96,
        "grid": 2,
        "betas": (0.5, 0.9),
        "queue": None,
        "stages": None,
    }


def test_a_card_says_what_parameters_take():
    assert card(Toy)["values"]["momentum"] == "a number, at least 0 and below 1"
    assert card(Toy)["values"]["grid"] == "one of 2, 3 or none"
    assert describe(parameters(Toy)["queue"].annotation) == "a whole number, at least 1 or none"


def test_what_is_no_type_of_a_parameter_is_let_through(encoder):
    assert convert("encoder", encoder, Encoder) is encoder


@method(paper="Nobody, 2020", needs={"images": "image + targets"}, family="verify")
class Told(Method):
    """Withholds columns; the data tell it which, wherever they stand among its arguments."""

    def __init__(self, encoder: Encoder, weight: float = 1.0, *, targets: dict, classes: tuple[str, ...] = ()):
        super().__init__(encoder)
        self.weight, self.targets, self.classes = weight, targets, classes


def test_what_the_data_tell_is_known_by_name_and_is_no_parameter(encoder):
    assert list(parameters(Told)) == ["weight"]
    told = {"targets": {"age": None, "colour": ("red", "blue")}, "classes": ("a", "b"), "more": 3}
    made = build(Told, encoder, {"weight": "2"}, told)
    assert (made.weight, made.targets, made.classes) == (2.0, told["targets"], ("a", "b"))
    assert build(Toy, encoder, {}, told).queue == 4  # which asks for none of it
    with pytest.raises(UsageError, match=r"needs labels of two or more classes, but there is only one\."):
        build(Told, encoder, {}, told | {"classes": ("a",)})
    with pytest.raises(UsageError, match="learns the columns of a table, but the data have none"):
        build(Told, encoder, {}, {"classes": ("a", "b")})


@pytest.mark.parametrize(("name", "wrong"), [(name, wrong) for name, values in WRONG.items() for wrong in values])
def test_each_method_refuses_what_it_cannot_take(name, wrong):
    with pytest.raises(UsageError, match=f"{name}: .*{next(iter(wrong))}"):
        Trial(find(name), values=wrong).make()
