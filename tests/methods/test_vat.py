import math

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import losses, nets
from withhold.methods.semisupervised.vat import VAT


def make(**parameters):
    torch.manual_seed(0)
    return VAT(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


@pytest.mark.parametrize("entropy", [0.0, 0.4])
def test_loss_is_the_cross_entropy_the_divergence_and_the_entropy_written_out(entropy):
    rng = torch.Generator().manual_seed(0)
    scores, answers = torch.randn(8, 3, generator=rng), torch.randn(3, 3, generator=rng).softmax(1)
    labels, said = torch.tensor([2, 0]), scores.softmax(1).numpy()
    named = [-math.log(row[label]) for row, label in zip(said, labels.tolist(), strict=False)]
    divergence = sum(stats.entropy(p, q) for p, q in zip(answers.numpy(), said[5:], strict=True)) / 3
    unsure = sum(map(stats.entropy, said[2:5])) / 3
    terms = make(weight=0.5, entropy=entropy).loss(scores, (labels, answers, None))
    assert terms["loss"].item() == pytest.approx(sum(named) / 2 + 0.5 * (divergence + entropy * unsure), rel=1e-5)
    assert terms["divergence"].item() == pytest.approx(divergence, rel=1e-5)


def test_a_change_is_as_long_as_the_radius_says_and_worse_than_a_random_one():
    method, batch = make(radius=0.05, flip=0.0), streams()
    overfit(method, batch, seeds=range(15))
    method.eval()
    seen, (_, answers, plain) = method.hide(batch)
    change = seen[24:] - plain
    torch.testing.assert_close(change.square().mean((1, 2, 3)).sqrt(), torch.full((12,), 0.05), atol=1e-4, rtol=0)
    assert torch.equal(seen[12:24], plain)
    torch.testing.assert_close(answers, method.predict(plain).softmax(1))
    noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        worst, random = (
            losses.divergence(answers, method.predict(plain + step)).mean()
            for step in (change, noise * 0.05 / noise.square().mean((1, 2, 3), keepdim=True).sqrt())
        )
    assert worst > 3 * random
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_the_gradient_goes_through_the_answer_to_the_change_alone():
    """And through what is unchanged where its answer is to be sure."""
    labels, answers = torch.tensor([0]), torch.tensor([[0.8, 0.1, 0.1]])
    for entropy in (0.0, 1.0):
        scores = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0.0, 0, 0]], requires_grad=True)
        make(entropy=entropy).loss(scores, (labels, answers, None))["loss"].backward()
        assert scores.grad[2].tolist() == pytest.approx((F.softmax(scores[2], 0) - answers[0]).tolist())
        assert scores.grad[1].any() == bool(entropy)


def test_nothing_that_is_withheld_hangs_on_the_weights():
    method = make()
    seen, withheld = method.hide(streams())
    assert not any(part.requires_grad for part in (seen, *withheld))
    assert all(parameter.grad is None for parameter in method.parameters())


def test_new_images_are_named_after_a_few_steps_and_shown_in_range():
    method, batch = make(flip=0.0), streams()
    terms = overfit(method, batch, seeds=range(50))
    assert terms[-1]["loss"] < 0.5 * terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
    seen, withheld = method.hide(batch)
    columns = method.picture(seen, withheld)
    assert torch.equal(columns["seen"], seen[24:].clamp(0, 1))
    assert torch.equal(columns["guessed from"], withheld[2])
