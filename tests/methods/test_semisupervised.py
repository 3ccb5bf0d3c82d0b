"""Properties shared by the classifiers that use pseudo-labels."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_map

import withhold
from tests.methods.toys import random_images, tinted_images
from withhold import data, evaluation, nets
from withhold.contract import Trial
from withhold.methods import SemiSupervised, find, names
from withhold.pictures import grid
from withhold.training import Plan, fit
from withhold.training.optimizers import build, peak_lr

CLASSES = ("red", "green", "blue")
NAMES = [name for name in names() if issubclass(find(name), SemiSupervised)]
OF_IMAGES = [name for name in NAMES if find(name).needs["unlabelled"].kinds == ("image",)]


def make(momentum=0.9, flip=0.0):
    torch.manual_seed(0)
    return SemiSupervised(nets.build("convnet", size=16, channels=3), CLASSES, 1.0, momentum, flip)


def wander(method, steps):
    """The weights of the head after each of some random steps."""
    path = []
    for _ in range(steps):
        with torch.no_grad():
            method.head.weight.add_(torch.randn_like(method.head.weight))
        method.after_step()
        path.append(method.head.weight.detach().clone())
    return path


@pytest.mark.parametrize("name", ["mixmatch", "mixmixup", "remixmatch"])
def test_the_learning_rate_of_mixmatch_is_the_papers_at_its_batch(name):
    assert peak_lr(find(name).optimizer, 64) == pytest.approx(2e-3)


def test_the_average_is_a_plain_mean_at_first_and_then_a_moving_one():
    method = make(momentum=0.75)
    torch.manual_seed(1)
    path = wander(method, 4)
    expected = torch.stack(path).mean(0)
    torch.testing.assert_close(method.teacher.network[1].weight, expected)
    for weight in wander(method, 3):
        expected = 0.75 * expected + 0.25 * weight
    torch.testing.assert_close(method.teacher.network[1].weight, expected)


@pytest.mark.parametrize("name", NAMES)
def test_in_the_end_the_encoder_is_the_average(name):
    method, _ = Trial(find(name)).prepared(8)
    method.seed(0)
    with torch.no_grad():
        method.head.weight.add_(1)
    method.finish(list)
    ended, average = method.student().state_dict(), method.teacher.network.state_dict()
    assert all(torch.equal(value, average[name]) for name, value in ended.items())


def test_how_many_steps_it_averages_over_is_kept():
    method, other = make(momentum=0.99), make(momentum=0.99)
    wander(method, 3)
    other.load_state_dict(method.state_dict())
    for each in (method, other):
        torch.manual_seed(2)
        wander(each, 2)
    assert torch.equal(method.teacher.network[1].weight, other.teacher.network[1].weight)


def test_the_average_answers_and_is_not_trained():
    method = make().eval()
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(method.classify(images), method.predict(images))
    with torch.no_grad():
        method.head.bias.add_(torch.tensor([5.0, 0, 0]))
    assert not torch.allclose(method.classify(images), method.predict(images), atol=1)
    assert torch.equal(method.classify(images), method.teacher(images))
    trained = {id(p) for group in build([method], method.optimizer, 1e-3).param_groups for p in group["params"]}
    assert trained == {id(p) for p in method.student().parameters()}


def test_the_picture_puts_guesses_beside_labels():
    method = make()
    images, labels = tinted_images(1)
    seen, others = method.weak(random_images(9, size=16)), method.weak(images)
    guesses = torch.eye(3)[[2, 0, 1]] * 0.7 + 0.1
    columns = method.picture(seen, (labels, guesses.repeat(2, 1), others.repeat(2, 1, 1, 1)), torch.zeros(9, 3))
    assert columns["guess"] == ["blue 80%", "red 80%", "green 80%"]
    assert columns["label"] == ["red", "green", "blue"]
    assert columns["said"] == ["red 33%"] * 3
    assert torch.equal(columns["labelled"], seen[:3])
    assert torch.equal(columns["seen"], seen[-3:])
    assert torch.equal(columns["guessed from"], others)


def test_the_picture_of_what_makes_no_guesses_has_unlabelled_items_beside_labelled_ones():
    method, labels = make(), torch.arange(3)
    seen = method.weak(random_images(9, size=16))
    columns = method.picture(seen, (labels,), torch.zeros(9, 3))
    assert list(columns) == ["seen", "labelled", "label", "said"]
    assert torch.equal(columns["seen"], seen[-3:])
    assert torch.equal(columns["labelled"], seen[:3])


@pytest.mark.parametrize(
    ("progress", "steps", "t"),
    [
        (0.0, 0, 0.0), (0.1, 10**6, 0.25), (0.4, 10**6, 1.0),  # a share of a long training
        (0.2, 1000, 0.4), (0.5, 2500, 1.0),  # 2,500 steps of 5,000
        (0.2, 50, 0.25), (0.4, 100, 0.5), (0.8, 200, 1.0), (1.0, 250, 1.0),  # four fifths of a short one
    ],
)  # fmt: skip
def test_a_weight_rises_slowly_and_has_risen_by_the_end_however_short_the_training(progress, steps, t):
    method = make()
    method.progress, method.steps = progress, steps
    assert method.risen == pytest.approx(np.exp(-5 * (1 - t) ** 2))


@pytest.mark.parametrize(("weight", "counted"), [(3.0, 0.1), (0.0, None)])
def test_how_much_of_the_weight_counted_is_said_where_there_is_some(weight, counted):
    method, scores, labels = make(), torch.zeros(4, 3), torch.tensor([0, 2, 1, 2])
    method.weight = weight
    assert method.terms(scores, labels, torch.ones(5), risen=0.5, sure=0.2).get("counted") == counted


def test_a_loss_is_what_labels_cost_and_a_share_of_what_the_others_cost():
    method, scores, labels = make(), torch.randn(4, 3), torch.tensor([0, 2, 1, 2])
    method.weight = 3.0
    terms = method.terms(scores, labels, torch.tensor([1.0, 2.0, 6.0]), risen=0.5)
    assert terms["loss"].item() == pytest.approx(F.cross_entropy(scores, labels).item() + 3 * 0.5 * 3)
    shares = method.terms(scores, F.one_hot(labels, 3).float(), torch.zeros(0))
    assert shares["loss"].item() == pytest.approx(F.cross_entropy(scores, labels).item())
    assert shares["accuracy"] == terms["accuracy"]


@pytest.mark.parametrize("name", NAMES)
def test_no_label_is_read_that_was_not_given(name):
    """Whatever labels the stream without any happens to have, the weights end bit for bit the same."""
    trial, ends = Trial(find(name), size=16), []
    samples = trial.made[1]["unlabelled"]
    garbage = samples.with_labels(np.random.default_rng(0).integers(0, 7, len(samples)), tuple("abcdefg"))
    for others in (samples, garbage):
        trial.made[1]["unlabelled"] = others
        method = trial.make()
        fit(method, trial.feed(method, 16), Plan(steps=3))
        ends.append(method.state_dict())
    assert not np.array_equal(samples.labels, garbage.labels)
    assert all(torch.equal(torch.as_tensor(value), ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("name", ["uda", "fast_swa", "dann"])
def test_a_run_without_weight_is_that_of_the_labels_whatever_else_there_is(name, photos, tmp_path):
    """Including the batch statistics, which are computed anew when a training ends."""
    labels, told = np.arange(16) % 2, {"weight": 0.0, "encoder": "convnet", "size": 16, "batch_size": 8, "epochs": 1}
    runs = [
        withhold.train(name, (photos[:16], labels), others, out=tmp_path / str(i), no_report=True, **told)
        for i, others in enumerate((photos[16:32], 255 - photos[16:32]))
    ]
    first, other = (run.method.state_dict() for run in runs)
    assert all(torch.equal(torch.as_tensor(value), other[name]) for name, value in first.items())
    assert [part.labels.tolist() for part in runs[0].learned()] == [labels.tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_without_weight_nothing_is_taken_from_what_has_no_labels(name):
    """Neither by the loss nor by gradients, batch statistics or the average, in a step late enough for any ramp."""
    ends = []
    for turn in range(2):
        method, batch = Trial(find(name), values={"weight": 0.0}).prepared(8)
        method.steps = 10**6
        method.seed(0)
        others = tree_map(lambda part, turn=turn: part.flip(-1).roll(turn, 0)[: 8 - turn], batch["unlabelled"])
        terms = method({**batch, "unlabelled": others})
        assert all(torch.as_tensor(value).isfinite() for value in terms.values())
        assert terms["loss"] == terms["supervised"]
        terms["loss"].backward()
        method.after_step()
        slopes = {name: weight.grad.to_dense() for name, weight in method.named_parameters() if weight.requires_grad}
        ends.append(slopes | dict(method.named_buffers()) | {"loss": terms["loss"]})
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    visible, withheld = method.hide(batch)
    assert len(visible) == len(withheld[0]) == 8, "the labelled ones alone"
    columns = method.picture(visible, withheld, method.predict(visible))
    assert {len(column) for column in columns.values()} == {8}
    assert grid(columns).width > 50


def test_the_average_waits_for_no_gpu(monkeypatch):
    method = SemiSupervised(nets.build("convnet", size=16, channels=3), ("a", "b"), 1.0, 0.9, 0.0)

    def waits(self):
        raise AssertionError("reads a number from the device")

    for name in ("item", "tolist", "__float__", "__int__", "__bool__"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    method.after_step()


def test_when_training_ends_the_average_answers_with_the_statistics_of_plain_images():
    """Those of its training are an average too, of strong and weak views and of weights that knew little."""
    known, unknown = data.load("digits", size=16).split(0.5, 0)
    streams = {"labelled": known.select(range(60)), "unlabelled": known}
    torch.manual_seed(0)
    method = withhold.methods.build(
        find("uda"), nets.build("convnet", size=16, channels=1), {"flip": 0.0}, {"classes": known.classes}
    )
    fit(method, data.Feeder(streams, method.needs, 32, 0), Plan(steps=60))
    method.eval()

    def right():
        said = evaluation.scores(method, unknown, device="cpu").argmax(1)
        return (said == torch.as_tensor(unknown.labels)).float().mean().item()

    saved = right()
    method.finish(lambda: evaluation.plain_batches(list(streams.values()), "cpu"))
    assert right() > saved + 0.1


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("learned", [True, False])
def test_over_an_encoder_that_has_learned_the_head_starts_as_a_probe(name, learned):
    images, labels = tinted_images(8)
    samples = data.load((images.permute(0, 2, 3, 1).numpy(), labels.numpy()), size=16)
    encoder = nets.build("convnet", size=16, channels=3)
    encoder.learned = learned
    method = withhold.methods.build(find(name), encoder, {}, {"classes": ("red", "green", "blue")}).train()
    before = method.head.weight.clone()
    method.seed(0)
    method.prepare(labelled=samples, unlabelled=samples)
    if not learned:
        assert torch.equal(method.head.weight, before)
        return
    peer = withhold.methods.build(
        find("finetune"), copy.deepcopy(encoder), {}, {"classes": ("red", "green", "blue")}
    ).train()
    peer.seed(0)
    peer.prepare(labelled=samples)
    torch.testing.assert_close(method.head.weight, peer.head.weight, atol=1e-3, rtol=1e-3)
    items = next(nets.batches(samples, torch.arange(24), "cpu"))
    method.eval()
    torch.testing.assert_close(method.teacher(items), method.student()(items))
