import math

import numpy as np
import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import data, nets
from withhold.methods.semisupervised.temporal_ensembling import TemporalEnsembling
from withhold.training import prepare

LABELS = torch.tensor([2, 0])


def make(items=12, **parameters):
    torch.manual_seed(0)
    method = TemporalEnsembling(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)
    stream = data.load(np.zeros((items, 16, 16, 3), np.uint8), size=16)
    prepare(method, {"labelled": stream, "unlabelled": stream}, 0)
    method.progress, method.steps = 1.0, 10**6  # the weight has risen
    return method


def streams(per_class=4):
    others = tinted_images(per_class, seed=1)[0]
    return {"labelled": tinted_images(per_class), "unlabelled": (others, torch.arange(len(others)))}


def shares(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


def test_loss_is_the_cross_entropy_of_labels_and_the_squared_difference_to_what_was_answered():
    method, scores, targets = make(weight=7.0), shares(6).log() * 2, shares(4, 1)
    targets[1] = 0  # comes for the first time
    said = scores.softmax(1).tolist()
    named = [-math.log(row[label]) for row, label in zip(said, LABELS.tolist(), strict=False)]
    squares = sum((p - q) ** 2 for i in (0, 2, 3) for p, q in zip(said[2 + i], targets[i].tolist(), strict=True))
    found = method.loss(scores, (LABELS, targets, torch.arange(4)))["loss"].item()
    assert found == pytest.approx(sum(named) / 2 + 7 * squares / 12, rel=1e-5)


def test_an_average_is_what_the_paper_writes_for_every_image_by_its_number():
    """Z = a Z + (1 - a) z after each epoch, and Z / (1 - a^t) is the target."""
    method = make(items=4, memory=0.6)
    image = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    kept = np.zeros((4, 3))
    for epoch, numbers in enumerate([(3, 1), (1, 3), (3, 1)], start=1):
        said = shares(2, epoch)
        method.loss(torch.cat([torch.zeros(2, 3), said.log()]), (LABELS, torch.zeros(2, 3), torch.tensor(numbers)))
        method.after_step()
        kept[list(numbers)] = 0.6 * kept[list(numbers)] + 0.4 * said.numpy()
        _, (_, targets, _) = method.hide({"labelled": (image, LABELS), "unlabelled": (image, torch.tensor([1, 3]))})
        np.testing.assert_allclose(targets, kept[[1, 3]] / (1 - 0.6**epoch), rtol=1e-4)
        np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-5)
    _, (_, targets, _) = method.hide({"labelled": (image, LABELS), "unlabelled": (image, torch.tensor([0, 2]))})
    assert not targets.any()


def test_the_first_epoch_teaches_labels_alone_and_its_answers_the_second_one():
    method, batch = make(), streams()
    first = method(batch)
    assert first["loss"] == first["supervised"]
    method.after_step()
    again = method(batch)
    assert again["loss"] > again["supervised"]


def test_an_image_without_an_average_does_not_count():
    method, batch = make(), streams()
    assert method(batch)["counted"] == 0
    method.averages[:3], method.seen[:3] = shares(3), 1
    assert method(batch)["counted"].item() == pytest.approx(3 / 12)


def test_what_is_measured_in_between_is_not_remembered():
    method = make().eval()
    method(streams())
    method.after_step()
    assert not method.averages.any()


def test_trivial_is_what_the_best_constant_answer_costs():
    method, targets = make(weight=20.0), shares(40)
    targets[:10] = 0
    constants = [torch.tensor([a, b, 1 - a - b]) for a in torch.linspace(0, 1, 40)
                 for b in torch.linspace(0, 1 - a, 40)]  # fmt: skip
    cost = min(20 * (p - targets[10:]).square().mean(1).sum().item() / 40 for p in constants)
    trivial = method.loss(torch.zeros(42, 3), (LABELS, targets, torch.arange(40)))["trivial"].item()
    assert trivial == pytest.approx(math.log(3) + cost, rel=1e-3)


def test_targets_take_no_gradient_and_unlabelled_images_do():
    method = make(weight=1.0)
    scores, targets = torch.zeros(4, 3, requires_grad=True), torch.tensor([[0.8, 0.1, 0.1], [0.0, 0, 0]])
    method.loss(scores, (LABELS, targets, torch.arange(2)))["loss"].backward()
    assert scores.grad[2, 0] < 0 < scores.grad[2, 1]
    assert not scores.grad[3].any()


def test_new_images_are_named_after_a_few_steps():
    method, batch = make(weight=10.0, flip=0.0), streams()
    terms = overfit(method, batch, seeds=range(60))
    assert terms[-1]["loss"] < 0.5 * terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
    seen, withheld = method.hide(batch)
    assert method.picture(seen, withheld)["guess"] == method.captions(withheld[1])
