import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.mixmatch import MixMatch


def make(**parameters):
    torch.manual_seed(0)
    return MixMatch(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def shares(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


def test_loss_is_cross_entropy_of_labels_and_squared_error_of_guesses():
    method = make(weight=6.0)
    method.progress = 0.4
    labels, guesses, scores = shares(2), shares(4, 1), shares(6, 2).log() * 3
    said = scores.softmax(1).tolist()
    entropy = sum(-q * math.log(p) for row, true in zip(said[:2], labels.tolist(), strict=True)
                  for p, q in zip(row, true, strict=True))  # fmt: skip
    squares = sum((p - q) ** 2 for row, true in zip(said[2:], guesses.tolist(), strict=True)
                  for p, q in zip(row, true, strict=True))  # fmt: skip
    found = method.loss(scores, (labels, guesses, None))["loss"].item()
    assert found == pytest.approx(entropy / 2 + 6 * math.exp(-5 * 0.5**2) * squares / 12, rel=1e-5)


def test_trivial_is_what_the_best_constant_costs_beside_the_guesses():
    method, guesses = make(weight=20.0), shares(40)
    method.progress = 1.0
    constants = [
        torch.tensor([a, b, 1 - a - b]) for a in torch.linspace(0, 1, 40) for b in torch.linspace(0, 1 - a, 40)
    ]
    cost = min(20 * (p - guesses).square().mean().item() for p in constants)
    trivial = method.loss(torch.zeros(42, 3), (shares(2), guesses, None))["trivial"].item()
    assert trivial == pytest.approx(math.log(3) + cost, rel=1e-3)


@pytest.mark.parametrize("copies", [1, 3])
def test_a_guess_is_the_sharpened_mean_over_the_views_of_its_image(copies):
    """Hardly anything is mixed; and without batch statistics an answer depends on its own view alone."""
    method = make(copies=copies, temperature=0.5, alpha=1e-4).eval()
    with torch.no_grad():
        method.head.weight.mul_(5)
    batch = streams()
    seen, (labels, guesses, others) = method.hide(batch)
    n = 12
    assert seen.shape == ((1 + copies) * n, 3, 16, 16)
    near = (guesses.amax(1) > 0) & ((seen[n:] - others).abs().flatten(1).amax(1) < 1e-6)  # not the few that were mixed
    assert near.float().mean() > 0.8
    assert (labels - F.one_hot(batch["labelled"][1], 3)).abs().amax(1).median() < 1e-6
    for place in near.nonzero()[:, 0].tolist():
        views = others[place % n :: n]  # one after another, all images each
        assert len(views) == copies
        powers = method.predict(views).softmax(1).mean(0).square()
        torch.testing.assert_close(guesses[place], powers / powers.sum(), atol=1e-5, rtol=1e-4)
    if copies > 1:
        assert not torch.equal(others[:n], others[n : 2 * n])


def test_labelled_images_stay_mostly_what_their_label_says():
    batch = streams(per_class=40)
    _, (labels, guesses, _) = make().hide(batch)
    own = labels.gather(1, batch["labelled"][1][:, None])
    assert own.min() >= 0.5 - 1e-6
    assert own.min() < 0.6
    torch.testing.assert_close(guesses.sum(1), torch.ones(240))


def test_without_weight_labelled_images_are_mixed_among_themselves():
    batch = streams(per_class=40)
    seen, (labels, guesses, _) = make(weight=0.0).hide(batch)
    assert len(seen) == 120 and guesses.shape == (0, 3)
    own = labels.gather(1, batch["labelled"][1][:, None])
    assert 0.5 - 1e-6 <= own.min() < 0.6
    torch.testing.assert_close(labels.sum(1), torch.ones(120))


def test_all_images_go_through_the_network_in_one_pass():
    """So that batch normalisation sees labelled and unlabelled ones together."""
    method, sizes = make(), []
    seen, _ = method.hide(streams())
    method.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    method.predict(seen)
    assert sizes == [36]


def test_guesses_take_no_gradient():
    method = make()
    method.progress = 1.0
    _, (labels, guesses, others) = method.hide(streams())
    assert not (labels.requires_grad or guesses.requires_grad or others.requires_grad)
    method(streams())["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.student().parameters())


def test_new_images_are_named_after_a_few_steps():
    method = make(weight=10.0, flip=0.0)
    method.progress = 1.0
    terms = overfit(method, streams(), seeds=range(60))
    assert terms[-1]["loss"] < terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
