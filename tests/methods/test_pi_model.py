import math

import pytest
import torch

from tests.methods.toys import overfit, random_images, tinted_images
from withhold import nets
from withhold.methods.semisupervised.pi_model import PiModel


def make(**parameters):
    torch.manual_seed(0)
    return PiModel(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def test_loss_is_the_cross_entropy_of_labels_and_the_squared_difference_of_two_answers():
    method, labels = make(weight=7.0), torch.tensor([2, 0])
    method.progress, method.steps = 0.2, 10**6
    scores = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    shares = scores.softmax(1).tolist()
    named = [-math.log(row[label]) for row, label in zip(shares, labels.tolist(), strict=False)]
    squares = sum((p - q) ** 2 for first, second in zip(shares[2:5], shares[5:], strict=True)
                  for p, q in zip(first, second, strict=True))  # fmt: skip
    expected = sum(named) / 2 + 7 * math.exp(-5 * (1 - 0.5) ** 2) * squares / 9
    assert method.loss(scores, (labels,))["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_consistency_hardly_counts_at_first_and_fully_at_the_end_of_a_short_training():
    method, scores, found = make(weight=10.0), torch.randn(6, 3), []
    for method.progress, method.steps in ((0.0, 0), (0.4, 10**6), (1.0, 100)):
        terms = method.loss(scores, (torch.tensor([2, 0]),))
        found.append(((terms["loss"] - terms["supervised"]) / terms["unsupervised"]).item())
    assert found == pytest.approx([10 * math.exp(-5), 10, 10], rel=1e-3)


def test_the_gradient_goes_through_both_answers():
    method = make(weight=1.0)
    method.progress, method.steps = 1.0, 10**6
    scores = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0.0, 0, 0]], requires_grad=True)
    method.loss(scores, (torch.tensor([0]),))["loss"].backward()
    assert scores.grad[1, 0] > 0 > scores.grad[2, 0]  # each towards the other


def test_two_views_are_moved_and_noisy_each_its_own_way_and_mirrored_alike():
    method = make(noise=0.0)
    images = random_images(40, size=16)
    images[:, :, :, :8], images[:, :, :, 8:] = 0, 255  # dark on the left
    seen, _ = method.hide({"labelled": (images, torch.zeros(40)), "unlabelled": images})
    _, first, second = seen.split(40)
    assert not torch.equal(first, second)
    dark_left = [view[:, :, :, :4].mean((1, 2, 3)) < 0.5 for view in (first, second)]
    assert torch.equal(*dark_left)
    assert 0.2 < dark_left[0].float().mean() < 0.8
    grey = torch.full((8, 3, 16, 16), 128, dtype=torch.uint8)
    noisy, _ = make(noise=0.1).hide({"labelled": (grey, torch.zeros(8)), "unlabelled": grey})
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05)
    assert not torch.equal(noisy[8:16], noisy[16:])


def test_new_images_are_named_after_a_few_steps_and_shown_twice():
    method, batch = make(flip=0.0), streams()
    terms = overfit(method, batch, seeds=range(60))
    assert terms[-1]["loss"] < 0.5 * terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
    seen, withheld = method.hide(batch)
    columns = method.picture(seen, withheld, method.predict(seen))
    assert torch.equal(columns["other view"], seen[12:24])
    assert torch.equal(columns["seen"], seen[24:])
