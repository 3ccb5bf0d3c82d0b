import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import nn
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import data, losses, nets
from withhold.errors import UsageError
from withhold.methods.semisupervised.lga import LGA
from withhold.nets import ImageEncoder
from withhold.training import prepare

RAMP = ((0.4, math.exp(-5 * 0.5**2)), (1.0, 1.0))
"""How far a short training is, and how far the weight has risen."""


class Points(ImageEncoder):
    """Points as images of one pixel with two channels: their own features."""

    def __init__(self):
        super().__init__(dim=2, channels=2, size=1, stride=1)

    def forward(self, images):
        return images.flatten(1)


def make(items=12, encoder="convnet", size=16, **parameters):
    torch.manual_seed(0)
    method = LGA(nets.build(encoder, size=size, channels=3), ("red", "green", "blue"), **parameters)
    stream = data.load(np.zeros((items, 16, 16, 3), np.uint8), size=16)
    prepare(method, {"labelled": stream, "unlabelled": stream}, 0)
    method.progress = 1.0  # the weight has risen
    return method


def streams(per_class=4):
    others = tinted_images(per_class, seed=1)[0]
    return {"labelled": tinted_images(per_class), "unlabelled": (others, torch.arange(len(others)))}


def two_gaussians(n, seed):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    return torch.randn(n, 2, generator=rng) + torch.tensor([6.0, 0.0]) * (labels[:, None] - 0.5), labels


def gradients_apart(method, named, labels, others, imputed):
    """The norm of what the gradients of the weights differ by, each taken on its own."""
    parts = []
    for items, targets in ((named, labels), (others, imputed)):
        cost = F.cross_entropy(method.student()(items), targets)
        parts.append(torch.cat([part.flatten() for part in torch.autograd.grad(cost, method.student().parameters())]))
    return (parts[1] - parts[0]).norm().item()


def test_of_two_gaussians_the_true_labels_are_imputed_and_the_gradients_come_together():
    """Logistic regression, at weights that do not move: from even labels to those that explain the given ones."""
    torch.manual_seed(0)
    method = LGA(Points(), ("left", "right"))
    (named, labels), (others, truth) = two_gaussians(20, 0), two_gaussians(200, 1)
    named, others = (part[:, :, None, None] for part in (named, others))
    imputed, apart = torch.full((200, 2), 0.5), []
    for _ in range(30):
        apart.append(gradients_apart(method, named, labels, others, imputed))
        imputed = method.aligned(named, labels, others, imputed)
    assert (imputed.argmax(1) == truth).float().mean() > 0.95
    assert apart[-1] < 0.5 * apart[0] and all(after < before for before, after in itertools.pairwise(apart[:6]))


def test_a_step_goes_down_the_slope_of_the_squared_difference_of_gradients():
    """Against double differentiation, on a network with a hidden layer and batch statistics of all items."""
    torch.manual_seed(0)
    method = LGA(Points(), ("left", "right"), rate=1e-3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))
    method.student = lambda: network
    (named, labels), (others, _) = two_gaussians(6, 0), two_gaussians(10, 1)
    imputed = torch.full((10, 2), 0.5, requires_grad=True)
    known, rest = method.student()(torch.cat([named, others])).split([6, 10])
    cost = F.cross_entropy(rest, imputed) - F.cross_entropy(known, labels)
    apart = torch.autograd.grad(cost, method.student().parameters(), create_graph=True)
    slope = torch.autograd.grad(sum(part.square().sum() for part in apart), imputed)[0]
    moved = method.aligned(named[:, :, None, None], labels, others[:, :, None, None], imputed.detach()) - 0.5
    slope = slope - slope.mean(1, keepdim=True)
    torch.testing.assert_close(moved, -1e-3 * slope / slope.abs().max(), atol=1e-6, rtol=1e-3)


def test_it_learns_over_a_transformer_whose_attention_has_a_forward_mode():
    method = make(encoder="vit-tiny", size=32)
    assert method(streams())["loss"].isfinite()


def test_the_nearest_shares_are_those_that_an_optimiser_finds():
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    found = losses.project_simplex(rows)
    for row, shares in zip(rows.numpy(), found.numpy(), strict=True):
        best = optimize.minimize(
            lambda x, row=row: ((x - row) ** 2).sum(), np.full(4, 0.25), bounds=[(0, None)] * 4,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
        )  # fmt: skip
        assert shares == pytest.approx(best.x, abs=1e-4)


def test_loss_is_the_cross_entropies_of_given_and_imputed_labels_and_the_divergence():
    rng = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(8, 3, generator=rng), torch.tensor([2, 0])
    imputed, answers = torch.randn(2, 3, 3, generator=rng).softmax(2)
    said = scores.softmax(1).tolist()
    named = -(math.log(said[0][2]) + math.log(said[1][0])) / 2
    guessed = -sum(q * math.log(p) for row, true in zip(said[2:5], imputed.tolist(), strict=True)
                   for p, q in zip(row, true, strict=True)) / 3  # fmt: skip
    divergence = sum(stats.entropy(p, q) for p, q in zip(answers.tolist(), said[5:], strict=True)) / 3
    method = make(weight=2.0, adversarial=0.5)
    for method.progress, risen in RAMP:
        terms = method.loss(scores, (labels, imputed, None, answers))
        assert terms["loss"].item() == pytest.approx(named + 2 * risen * (guessed + 0.5 * divergence), rel=1e-5)
        assert terms["counted"] == pytest.approx(risen)


def test_unlabelled_images_are_seen_twice_the_second_time_changed_by_the_radius():
    seen, (_, _, plain, _) = make(radius=0.05).hide(streams())
    assert torch.equal(seen[12:24], plain)
    torch.testing.assert_close((seen[24:] - plain).square().mean((1, 2, 3)).sqrt(), torch.full((12,), 0.05))


@pytest.mark.parametrize(("progress", "risen"), RAMP)
def test_trivial_is_what_the_best_constant_answer_costs(progress, risen):
    method, imputed, labels = make(weight=2.0), torch.eye(3)[[0, 0, 1, 2, 0, 1]], torch.arange(3).repeat(2)
    method.progress = progress
    constants = [torch.tensor([a, b, 1 - a - b]).log() for a in torch.linspace(0.01, 0.98, 60)
                 for b in torch.linspace(0.01, 0.99 - a, 30)]  # fmt: skip
    costs = [F.cross_entropy(row.expand(6, 3), labels) + 2 * risen * F.cross_entropy(row.expand(6, 3), imputed)
             for row in constants]  # fmt: skip
    even = torch.full((6, 3), 1 / 3)
    trivial = method.loss(torch.zeros(18, 3), (labels, imputed, None, even))["trivial"].item()
    assert trivial == pytest.approx(min(cost.item() for cost in costs), rel=3e-3)


def test_imputed_labels_begin_even_are_kept_by_number_and_move_in_training_alone():
    method, batch = make(), streams()
    assert (method.imputed == 1 / 3).all()
    method.eval().hide(batch)
    method.after_step()
    assert (method.imputed == 1 / 3).all()
    batch["unlabelled"] = (batch["unlabelled"][0][:4], torch.tensor([7, 2, 9, 0]))
    _, (_, imputed, plain, answers) = method.train().hide(batch)
    method.after_step()
    assert torch.equal(method.imputed[[7, 2, 9, 0]], imputed) and (method.imputed[[1, 3, 4]] == 1 / 3).all()
    torch.testing.assert_close(imputed.sum(1), torch.ones(4))
    assert (imputed - 1 / 3).abs().max() > 0.03
    assert not (imputed.requires_grad or plain.requires_grad or answers.requires_grad)


def test_new_images_are_named_after_a_few_steps_and_their_labels_imputed():
    method = make(flip=0.0)
    overfit(method, streams(), seeds=range(20))
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
    assert (method.imputed.argmax(1) == tinted_images(4, seed=1)[1]).float().mean() > 0.9


def test_one_unlabelled_image_has_no_statistics_to_normalise_its_features_by():
    method, batch = make(encoder="perceptron"), streams()
    images, numbers = batch["unlabelled"]
    with pytest.raises(UsageError, match="Give two or more"):
        method({**batch, "unlabelled": (images[:1], numbers[:1])})
