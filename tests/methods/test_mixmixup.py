import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.mixmixup import MixMixup


def make(**parameters):
    torch.manual_seed(0)
    return MixMixup(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def shares(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


@pytest.mark.parametrize(
    ("progress", "share"), [(0.0, math.exp(-5)), (0.4, math.exp(-5 * 0.5**2)), (0.8, 1.0), (1.0, 1.0)]
)
def test_loss_is_cross_entropy_of_mixed_labels_and_of_mixed_guesses_that_come_to_count(progress, share):
    method = make(weight=3.0)
    method.progress = progress
    labels, guesses, scores = shares(2), shares(4, 1), shares(6, 2).log() * 3
    said = scores.softmax(1).tolist()
    costs = [
        sum(-q * math.log(p) for p, q in zip(row, true, strict=True))
        for row, true in zip(said, [*labels.tolist(), *guesses.tolist()], strict=True)
    ]
    found = method.loss(scores, (labels, guesses, None))["loss"].item()
    assert found == pytest.approx(sum(costs[:2]) / 2 + 3 * share * sum(costs[2:]) / 4, rel=1e-5)


def test_a_guess_is_the_sharpened_answer_to_the_view_that_is_mixed():
    """Hardly anything is mixed; and without batch statistics an answer depends on its own view alone."""
    method = make(temperature=0.5, alpha=1e-4).eval()
    with torch.no_grad():
        method.head.weight.mul_(5)
    batch = streams()
    seen, (labels, guesses, others) = method.hide(batch)
    assert seen.shape == (24, 3, 16, 16)
    near = (seen[12:] - others).abs().flatten(1).amax(1) < 1e-6
    assert near.float().mean() > 0.7
    powers = method.predict(others).softmax(1).square()
    torch.testing.assert_close(guesses[near], (powers / powers.sum(1, keepdim=True))[near], atol=1e-5, rtol=1e-4)
    assert (labels - F.one_hot(batch["labelled"][1], 3)).abs().amax(1).median() < 1e-6
    assert not (guesses.requires_grad or others.requires_grad)


def test_images_are_mixed_within_what_is_labelled_and_across():
    """What is mixed of an image and another is its target as well: told by images of one value each."""
    method = make(flip=0.0)
    black, white = torch.zeros(60, 3, 16, 16, dtype=torch.uint8), torch.full((60, 3, 16, 16), 255, dtype=torch.uint8)
    method.answers = lambda views: torch.tensor([[0.0, 1.0, 0.0]]).repeat(len(views), 1)
    seen, (labels, guesses, _) = method.hide(
        {"labelled": (black, torch.zeros(60, dtype=torch.long)), "unlabelled": white}
    )
    light = seen.mean((1, 2, 3))
    torch.testing.assert_close(light, torch.cat([labels, guesses])[:, 1])
    assert light[:60].max() <= 0.5 + 1e-6 <= light[60:].min() + 2e-6
    across = ((light > 0.01) & (light < 0.99)).view(2, 60).float().mean(1)
    assert (across > 0.2).all() and (across < 0.8).all(), "the others are mixed with their like"


def test_new_images_are_named_after_a_few_steps():
    method = make(flip=0.0)
    method.progress = 0.5
    first, *_, last = overfit(method, streams(), seeds=range(60))
    assert last["supervised"] < 0.8 * first["supervised"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
