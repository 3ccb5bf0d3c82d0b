import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, tinted_images
from withhold import nets
from withhold.methods.semisupervised.ict import ICT


def make(**parameters):
    torch.manual_seed(0)
    method = ICT(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)
    method.progress, method.steps = 1.0, 10**6  # the weight has risen
    return method


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def shares(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


def test_loss_is_the_cross_entropy_of_mixed_labels_and_the_squared_error_of_mixed_answers():
    method, labels, guesses, scores = make(weight=6.0), shares(2), shares(4, 1), shares(6, 2).log() * 3
    method.progress = 0.1
    said = scores.softmax(1).tolist()
    named = sum(-q * math.log(p) for row, true in zip(said[:2], labels.tolist(), strict=True)
                for p, q in zip(row, true, strict=True))  # fmt: skip
    squares = sum((p - q) ** 2 for row, true in zip(said[2:], guesses.tolist(), strict=True)
                  for p, q in zip(row, true, strict=True))  # fmt: skip
    found = method.loss(scores, (labels, guesses, None))["loss"].item()
    assert found == pytest.approx(named / 2 + 6 * math.exp(-5 * 0.75**2) * squares / 12, rel=1e-5)


def test_trivial_is_what_the_best_constant_answer_costs():
    method, guesses = make(weight=20.0), shares(40)
    constants = [torch.tensor([a, b, 1 - a - b]) for a in torch.linspace(0, 1, 40)
                 for b in torch.linspace(0, 1 - a, 40)]  # fmt: skip
    cost = min(20 * (p - guesses).square().mean().item() for p in constants)
    trivial = method.loss(torch.zeros(42, 3), (shares(2), guesses, None))["trivial"].item()
    assert trivial == pytest.approx(math.log(3) + cost, rel=1e-3)


def test_answers_of_the_average_are_mixed_as_their_images_are():
    """Flat images tell by their lightness how they were mixed; each of them is answered with its own lightness."""
    method = make(flip=0.0)
    method.teacher.forward = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1).log()
    flat = torch.arange(4, 104)[:, None, None, None].expand(-1, 3, 16, 16).byte()
    seen, (_, guesses, others) = method.hide({"labelled": (flat, torch.arange(100) % 3), "unlabelled": flat})
    torch.testing.assert_close(guesses[:, 0], seen[100:].mean((1, 2, 3)), atol=1e-5, rtol=1e-5)
    assert (seen[100:] - others).abs().amax((1, 2, 3)).mean() > 0.03  # they are mixed


def test_labelled_images_are_mixed_among_themselves_and_with_alpha_near_0_hardly_any():
    images, labels = random_images(60, size=16), torch.arange(60) % 3
    batch = {"labelled": (images, labels), "unlabelled": images}
    _, (mixed, _, _) = make().hide(batch)
    own = mixed.gather(1, labels[:, None])
    assert 0.5 - 1e-6 <= own.min() < 0.7
    method = make(alpha=1e-4).eval()
    seen, (mixed, guesses, others) = method.hide(batch)
    assert (mixed - F.one_hot(labels, 3)).abs().amax(1).median() < 1e-6
    kept = (seen[60:] - others).abs().amax((1, 2, 3)) < 1e-6
    assert kept.float().mean() > 0.8  # and then it is mean teacher, of the same view
    torch.testing.assert_close(guesses[kept], method.teacher(others).softmax(1)[kept])


def test_only_the_student_takes_a_gradient_and_from_unlabelled_images_too():
    method = make(weight=1.0)
    seen, withheld = method.hide(streams())
    scores = method.predict(seen)
    scores.retain_grad()
    method.loss(scores, withheld)["loss"].backward()
    assert (scores.grad.abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_new_images_are_named_after_a_few_steps():
    method = make(weight=10.0, flip=0.0)
    terms = overfit(method, streams(), seeds=range(60))
    assert terms[-1]["loss"] < terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
