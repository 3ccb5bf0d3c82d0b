import math

import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.mean_teacher import MeanTeacher


def make(**parameters):
    torch.manual_seed(0)
    return MeanTeacher(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def answers_and_scores(n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=rng).softmax(1), torch.randn(n, 3, generator=rng)


def test_loss_is_cross_entropy_of_labels_and_squared_difference_of_all_answers():
    method = make(weight=7.0)
    method.progress = 0.4
    labels, (answers, scores) = torch.tensor([2, 0]), answers_and_scores(5)
    named = [-math.log(row[label]) for row, label in zip(scores.softmax(1).tolist(), labels.tolist(), strict=False)]
    squares = [
        (p - q) ** 2
        for said, taught in zip(scores.softmax(1).tolist(), answers.tolist(), strict=True)
        for p, q in zip(said, taught, strict=True)
    ]
    expected = sum(named) / 2 + 7 * math.exp(-5 * 0.5**2) * sum(squares) / 15
    assert method.loss(scores, (labels, answers, None))["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_consistency_hardly_counts_at_first_and_fully_after_the_ramp():
    method, (answers, scores) = make(weight=10.0), answers_and_scores(5)
    parts = []
    for method.progress in (0.0, 0.8, 0.9):
        terms = method.loss(scores, (torch.tensor([2, 0]), answers, None))
        parts.append(((terms["loss"] - terms["supervised"]) / terms["unsupervised"]).item())
    assert parts == pytest.approx([10 * math.exp(-5), 10, 10], rel=1e-3)


@pytest.mark.parametrize(("progress", "risen"), [(0.4, math.exp(-5 * 0.5**2)), (1.0, 1.0)])
def test_trivial_is_what_the_best_constant_answers_cost(progress, risen):
    """A constant for the labelled images, which balanced classes make log k, and one for all beside the teacher."""
    method, (answers, _) = make(weight=20.0), answers_and_scores(60)
    method.progress = progress
    labels = torch.arange(3).repeat(20)
    constants = [
        torch.tensor([a, b, 1 - a - b]) for a in torch.linspace(0, 1, 40) for b in torch.linspace(0, 1 - a, 40)
    ]
    cost = min(20 * risen * (p - answers).square().mean().item() for p in constants)
    trivial = method.loss(torch.zeros(60, 3), (labels, answers, None))["trivial"].item()
    assert trivial == pytest.approx(math.log(3) + cost, rel=1e-3)


def test_the_teacher_answers_to_other_views_of_the_same_images():
    """Without batch statistics an answer depends on its own view alone."""
    method = make().eval()
    batch = streams()
    with torch.no_grad():
        method.teacher.network[1].bias.add_(torch.tensor([3.0, 0, 0]))
    seen, (labels, answers, others) = method.hide(batch)
    assert torch.equal(labels, batch["labelled"][1])
    torch.testing.assert_close(answers, method.teacher(others).softmax(1))
    assert (answers[:, 0] > 0.5).all()  # the student's would not be
    assert seen.shape == others.shape == (24, 3, 16, 16)
    assert not torch.equal(seen, others)
    plain = torch.cat([batch["labelled"][0], batch["unlabelled"]]).float().mean((2, 3)) / 255
    for view in (seen, others):
        assert (view.mean((2, 3)) - plain).abs().max() < 0.05


def test_views_are_noisy():
    grey = torch.full((64, 3, 16, 16), 128, dtype=torch.uint8)
    deviation = make(noise=0.1).view(grey).std().item()
    assert deviation == pytest.approx(0.1, rel=0.05)
    assert make(noise=0.0).view(grey).std().item() == pytest.approx(0, abs=1e-6)


def test_only_the_student_takes_a_gradient_and_from_unlabelled_images_too():
    method = make(weight=1.0)
    method.progress = 1.0
    seen, withheld = method.hide(streams())
    scores = method.predict(seen)
    scores.retain_grad()
    method.loss(scores, withheld)["loss"].backward()
    assert (scores.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.student().parameters())


def test_without_weight_it_is_plain_supervision():
    method = make(weight=0.0)
    method.progress = 1.0
    terms = method(streams())
    assert terms["loss"] == terms["supervised"]


def test_new_images_are_named_after_a_few_steps():
    method = make(weight=10.0, flip=0.0)
    method.progress = 0.5
    batch = streams()
    terms = overfit(method, batch, seeds=range(60))
    assert terms[-1]["loss"] < 0.5 * terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
