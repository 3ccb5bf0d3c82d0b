"""What every method must do, run on each one that is registered, unasked."""

import inspect
import typing

import pytest
import torch
from lightning_fabric import Fabric

from tests.methods.streams import CLASSES, decoding, streams
from tests.methods.toys import random_images
from withhold import data, nets, views
from withhold.errors import UsageError
from withhold.methods import build, find, names, parameters
from withhold.nets.adapters import Adapter
from withhold.pictures import grid
from withhold.runs import train as train_run
from withhold.runs.build import build_encoder
from withhold.training import Plan, defaults, fit

METHODS = names()
SIZE = 32


def make(name, values=None, channels=3, size=SIZE):
    """A method around its default encoder for a CPU, always with the same weights."""
    cls = find(name)
    known = decoding(name) | {"size": size, "channels": cls.channels or channels}
    config = {"name": default_encoder(name), "pretrained": False}
    config |= {field: known[field] for field in nets.takes(config["name"])}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(cls, build_encoder(config, 0), values or {}, CLASSES)


def default_encoder(name):
    return defaults.encoder(find(name), torch.device("cpu"))


def feed(name, samples, batch_size=32):
    return data.Feeder(streams(name, samples), find(name).needs, batch_size, 0)


def scored(method, batch, seed=0):
    """Each player's terms on `batch`."""
    method.seed(seed)
    handed = {}
    return {player: method.turn(player, batch, handed) for player in method.players()}


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


OF_IMAGES = [name for name in METHODS if all(need.kind() == "image" for need in find(name).needs.values())]
"""What learns from images, in whatever size and colour a person has them."""


def test_its_card_is_whole(name):
    cls = find(name)
    text = inspect.getdoc(cls)
    assert text, "a method says what it withholds"
    assert text.split("\n")[0].endswith(".")
    for parameter in parameters(cls).values():
        assert f"{parameter.name}:" in text, f"{parameter.name} is not explained"
        assert parameter.default is not inspect.Parameter.empty, f"{parameter.name} has no default"
        assert parameter.annotation is not typing.Any, f"{parameter.name} has no type"
    options = set(inspect.signature(train_run).parameters) - {"parameters"}
    assert not options & set(parameters(cls)), "a parameter bears the name of a training option"


def test_loss_is_finite_and_every_weight_learns(name, photo_samples):
    method, feeder = make(name), feed(name, photo_samples)
    method.prepare(**feeder.streams)
    batch = feeder.batch(0)
    for player, terms in scored(method, batch).items():
        assert terms["loss"].ndim == 0
        assert torch.isfinite(terms["loss"])
        method.zero_grad()
        terms["loss"].backward()
        for module in method.players()[player]:
            for key, parameter in module.named_parameters():
                if parameter.requires_grad:
                    assert parameter.grad is not None, f"{key} has no gradient"
                    assert torch.isfinite(parameter.grad.to_dense()).all(), key


def test_the_same_seed_gives_the_same_loss_and_another_another(name, photo_samples):
    feeder = feed(name, photo_samples)
    losses = []
    for seed in (3, 3, 4):
        method = make(name)
        method.prepare(**feeder.streams)
        losses.append([terms["loss"].item() for terms in scored(method, feeder.batch(0), seed).values()])
    assert losses[0] == losses[1]
    if name != "autoencoder":  # which withholds nothing and draws no number
        assert losses[0] != losses[2]


def test_a_killed_and_resumed_run_ends_bit_for_bit_like_another(name, photo_samples, tmp_path):
    plan = Plan(steps=6, seed=5)

    class Killed(Exception):
        pass

    class Killer(data.Feeder):
        def iterate(self, start, stop):
            for step in range(start, stop):
                if step == 4:
                    raise Killed
                yield self.batch(step)

    def run(folder, feeder):
        folder.mkdir(exist_ok=True)
        method = make(name)
        fit(method, feeder, plan, folder=folder, every=0)
        return method.state_dict()

    whole = run(tmp_path / "whole", feed(name, photo_samples))
    with pytest.raises(Killed):
        run(tmp_path / "killed", Killer(streams(name, photo_samples), find(name).needs, 32, 0))
    resumed = run(tmp_path / "killed", feed(name, photo_samples))
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


def test_it_learns_on_tiny_data(name, photo_samples):
    """Within 100 steps the loss falls below that of the best predictor that looks at nothing, or else below its first.

    By two in a hundred, the monitor's own measure, over ten steps; training ends there, since every method costs time.
    """
    method, feeder = make(name), feed(name, photo_samples)
    player = next(iter(method.players())) + "/" if len(method.players()) > 1 else ""
    losses, bars = [], []

    class Learned(Exception):
        pass

    def report(row, steps):
        losses.append(row[player + "loss"])
        bars.append(row.get(player + "trivial", losses[0]))
        if len(losses) >= 30 and sum(losses[-10:]) < 0.98 * sum(bars[-10:]):
            raise Learned

    with pytest.raises(Learned):
        fit(method, feeder, Plan(steps=100), report=report)
    seen = next(iter(feeder.streams.values())).of(method.encoder.kind).batch(range(64))
    features = method.encoder.eval()(views.to_float(seen))
    assert features.std(0).max() > 1e-4, "the representation has collapsed"


def test_every_parameter_takes_another_value(name, photo_samples):
    feeder = feed(name, photo_samples)
    for parameter in parameters(find(name)).values():
        for value in others(parameter):
            method = make(name, {parameter.name: value})
            method.prepare(**feeder.streams)
            for terms in scored(method, feeder.batch(0)).values():
                assert torch.isfinite(terms["loss"]), f"{parameter.name}={value}"


def others(parameter):
    """Values of `parameter` besides its default, of the same type and near it."""
    kind, default = parameter.annotation, parameter.default
    if typing.get_origin(kind) is typing.Literal:
        return [option for option in typing.get_args(kind) if option != default]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default * 2]
    if isinstance(default, float):
        return [default / 2]
    return []


def test_it_takes_odd_batches(name, photo_samples):
    method, feeder = make(name), feed(name, photo_samples, batch_size=7)
    method.prepare(**feeder.streams)
    assert all(torch.isfinite(terms["loss"]) for terms in scored(method, feeder.batch(0)).values())


@pytest.mark.parametrize("name", OF_IMAGES)
def test_it_takes_grey_images_or_says_why_not(name, photo_samples):
    samples = data.load((photo_samples.array[..., :1].copy(), photo_samples.labels))
    method, feeder = make(name, channels=1), feed(name, samples)
    if find(name).channels == 1:  # it withholds what grey images do not have
        with pytest.raises(UsageError, match="colour"):
            method.prepare(**feeder.streams)
        return
    method.prepare(**feeder.streams)
    assert all(torch.isfinite(terms["loss"]) for terms in scored(method, feeder.batch(0)).values())


@pytest.mark.parametrize(
    "name", [name for name in OF_IMAGES if find(name).channels != 1 and default_encoder(name) == "convnet"]
)
def test_a_network_for_colour_learns_from_grey_images(name, photo_samples):
    """What it sees, what is true and what it says have the images' one channel, not the network's three."""
    network = nets.build("convnet", size=SIZE, channels=3)
    encoder = Adapter(network.blocks, SIZE, channels=1, inputs=3, mean=[0.1, 0.2, 0.6])
    samples = data.load((photo_samples.array[..., :1].copy(), photo_samples.labels))
    method, feeder = build(find(name), encoder, {}, CLASSES), feed(name, samples)
    visible, withheld = method.hide(feeder.batch(0))
    columns = method.picture(visible, withheld, method.predict(visible))
    assert {entry.shape[1] for entry in columns.values() if isinstance(entry, torch.Tensor)} == {1}


def test_it_trains_in_half_precision(name, photo_samples):
    """The encoder's layers run under autocast, and what the loss sees is float32 again."""
    method, feeder = make(name), feed(name, photo_samples, batch_size=16)
    halved = []
    for part in method.encoder.modules():
        part.register_forward_pre_hook(lambda *_: halved.append(torch.is_autocast_enabled("cpu")))
    rows = fit(method, feeder, Plan(steps=2), fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")).rows
    assert halved
    assert all(halved)
    assert len(rows) == 2


def test_it_shows_what_it_does(name, photo_samples):
    method, feeder = make(name), feed(name, photo_samples, batch_size=4)
    method.prepare(**feeder.streams)
    method.eval()
    with torch.no_grad():
        visible, withheld = method.hide(feeder.batch(0))
        columns = method.picture(visible, withheld, method.predict(visible))
    assert columns, "a method shows what it sees"
    for entry in columns.values():
        if isinstance(entry, torch.Tensor):
            assert entry.ndim in (4, 5)  # images, or clips
            assert entry.shape[-3] in (1, 3)
            assert entry.min() >= -1e-4
            assert entry.max() <= 1 + 1e-4
    assert grid(columns).width > 50
    assert grid(method.picture(visible, withheld)).width > 50


@pytest.mark.parametrize("name", OF_IMAGES)
def test_an_encoder_of_any_size_fits(name):
    """What a person's images are decides the size; a method that cannot take one says so in a sentence."""
    for size in (28, 64):
        images, labels = random_images(4, size=size), torch.arange(4) % len(CLASSES)
        needs = find(name).needs
        batch = {stream: (images, labels) if need.labelled else images for stream, need in needs.items()}
        method = make(name, size=size)
        assert all(torch.isfinite(terms["loss"]) for terms in scored(method, batch).values())


def test_encoders_are_rebuilt_alike():
    config = {"name": "convnet", "size": SIZE, "channels": 3, "pretrained": False}
    first, second = build_encoder(config, 1), build_encoder(config, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert isinstance(first, nets.Encoder)
