"""Each loss against a plain implementation of its formula."""

import math

import pytest
import torch
from torch.nn import functional as F

from withhold import losses


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def test_info_nce_is_the_mean_of_minus_log_softmax_at_the_key():
    query, key, negatives = random(5, 8), random(5, 8, seed=1), random(11, 8, seed=2)
    expected = 0.0
    for q, k in zip(query, key, strict=True):
        right = math.exp(cosine(q, k) / 0.2)
        wrong = sum(math.exp(cosine(q, other) / 0.2) for other in negatives)
        expected -= math.log(right / (right + wrong)) / 5
    assert losses.info_nce(query, key, negatives, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_is_a_softmax_over_all_other_views():
    first, second = random(4, 8), random(4, 8, seed=1)
    views = [*first, *second]
    expected = 0.0
    for i in range(8):
        similar = {j: math.exp(cosine(views[i], views[j]) / 0.5) for j in range(8) if j != i}
        expected -= math.log(similar[(i + 4) % 8] / sum(similar.values())) / 8
    assert losses.nt_xent(first, second, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_of_equal_embeddings_is_its_trivial_value():
    assert losses.nt_xent(torch.ones(6, 4), torch.ones(6, 4), 0.1).item() == pytest.approx(math.log(11))


def test_nearest_is_the_row_at_the_least_distance():
    first, second = random(5, 3), random(7, 3, seed=1)
    expected = [min(range(7), key=lambda j, x=x: float((x - second[j]).norm())) for x in first]
    assert losses.nearest(first, second).tolist() == expected


def test_off_diagonal_sums_the_squares_of_different_dimensions():
    matrix = random(4, 4)
    expected = sum(float(matrix[i, j]) ** 2 for i in range(4) for j in range(4) if i != j)
    assert losses.off_diagonal(matrix).item() == pytest.approx(expected, rel=1e-5)


def test_directions_count_what_embeddings_spread_over():
    circle = torch.tensor([[math.cos(a), math.sin(a), 0.0] for a in torch.arange(64) * math.pi / 32])
    assert losses.directions(5 * circle).item() == pytest.approx(2, rel=1e-4)
    assert losses.directions(random(64, 1) * torch.ones(1, 3)).item() == pytest.approx(1, rel=1e-4)
    assert losses.directions(torch.ones(8, 3)) == 0
    spread = F.normalize(random(50, 4), dim=1)
    strength = torch.linalg.eigvalsh(torch.cov(spread.T))
    assert losses.directions(spread).item() == pytest.approx(
        (strength.sum() ** 2 / (strength**2).sum()).item(), rel=1e-4
    )


def test_regression_is_the_squared_distance_on_the_sphere():
    predicted, target = random(6, 4), random(6, 4, seed=1)
    distance = (F.normalize(predicted, dim=1) - F.normalize(target, dim=1)).square().sum(1).mean()
    assert losses.regression(predicted, target).item() == pytest.approx(distance.item(), rel=1e-5)
    assert losses.regression(predicted, -3 * predicted).item() == pytest.approx(4)


def test_adversarial_losses_are_binary_cross_entropies():
    true, made = random(9), random(9, seed=1)
    expected = F.binary_cross_entropy(true.sigmoid(), torch.ones(9)) + F.binary_cross_entropy(
        made.sigmoid(), torch.zeros(9)
    )
    assert losses.discriminator_loss(true, made).item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.discriminator_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(math.log(4))
    fooled = F.binary_cross_entropy(made.sigmoid(), torch.ones(9))
    assert losses.generator_loss(made).item() == pytest.approx(fooled.item(), rel=1e-5)
    # Where the discriminator is sure, log(1 - D) has no gradient left, but -log D has.
    sure = torch.full((2,), -30.0, requires_grad=True)
    losses.generator_loss(sure).backward()
    assert sure.grad.tolist() == pytest.approx([-0.5, -0.5])


def test_least_squares_adversarial_losses_are_distances_from_what_is_claimed():
    true, made = random(9), random(9, seed=1)
    expected = F.mse_loss(true, torch.ones(9)) / 2 + F.mse_loss(made, torch.zeros(9)) / 2
    assert losses.least_squares_discriminator_loss(true, made).item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.least_squares_generator_loss(made).item() == pytest.approx(F.mse_loss(made, torch.ones(9)).item())
    blind = [losses.least_squares_discriminator_loss(c, c).item() for c in torch.linspace(-1, 2, 301)]
    assert min(blind) == pytest.approx(0.25)


def test_the_penalty_is_how_far_the_slope_between_true_and_made_is_from_one():
    """Critics with a known gradient: x for |x|^2 / 2, and a constant for a linear critic."""
    true, made = random(6, 2, 3), random(6, 2, 3, seed=1)
    weight = random(2, 3, seed=2)
    linear = losses.gradient_penalty(true, made, lambda x: (x * weight).sum((1, 2)), torch.Generator())
    assert linear.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-5)
    share = torch.rand(6, 1, 1, generator=torch.Generator().manual_seed(3))
    lengths = ((1 - share) * true + share * made).flatten(1).norm(dim=1)
    rng, scale = torch.Generator().manual_seed(3), torch.ones((), requires_grad=True)
    found = losses.gradient_penalty(true, made, lambda x: scale * x.square().sum((1, 2)) / 2, rng)
    assert found.item() == pytest.approx(((lengths - 1) ** 2).mean().item(), rel=1e-5)
    found.backward()  # through the slope, which is `scale` times the place
    assert scale.grad.item() == pytest.approx((2 * (lengths - 1) * lengths).mean().item(), rel=1e-5)


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_a_reversed_gradient_teaches_the_opposite_to_what_came_before_only(strength):
    x, weight = random(5, 3).requires_grad_(), random(3, seed=1).requires_grad_()
    plain = torch.autograd.grad((x @ weight).square().sum(), (x, weight))
    reversed_ = losses.reverse_gradient(x, strength)
    assert torch.equal(reversed_, x)
    before, after = torch.autograd.grad((reversed_ @ weight).square().sum(), (x, weight))
    assert torch.allclose(before, -strength * plain[0])
    assert torch.equal(after, plain[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda z: losses.info_nce(z, z.flip(0), z[:3], 0.2),
        lambda z: losses.nt_xent(z, z.flip(0), 0.2),
        lambda z: losses.regression(z, z.flip(0)),
        lambda z: losses.sigreg(z, torch.Generator().manual_seed(0), slices=64),
        lambda z: losses.discriminator_loss(z, z.flip(0)),
        lambda z: losses.least_squares_discriminator_loss(z, z.flip(0)),
        lambda z: losses.least_squares_generator_loss(z),
        lambda z: losses.divergence(z.abs(), z.flip(0)),
        lambda z: losses.sharpen(z.abs(), 0.5),
    ],
)
def test_losses_are_float32_under_autocast(call):
    z = random(8, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = call(z)
    assert under.dtype == torch.float32
    assert torch.equal(under, call(z.float()))


def test_symmetric_info_nce_finds_each_partner_among_the_other_side():
    first, second = (torch.randn(5, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    expected = 0.0
    for i in range(5):
        for one, other in ((first, second), (second, first)):
            cosines = [float(one[i] @ other[j] / one[i].norm() / other[j].norm()) / 0.1 for j in range(5)]
            expected -= cosines[i] - math.log(sum(math.exp(cosine) for cosine in cosines))
    found = losses.symmetric_info_nce(first, second, 0.1)
    assert found.item() == pytest.approx(expected / 10, rel=1e-4)
    assert losses.symmetric_info_nce(torch.eye(4), torch.eye(4), 0.01).item() == pytest.approx(0, abs=1e-6)


def test_negative_sampling_is_logistic_regression_on_pairs():
    """Value and gradient, against the weighted binary cross-entropy of true and false pairs."""
    torch.manual_seed(0)
    scores, true = torch.randn(2, 3, 7, dtype=torch.double, requires_grad=True), torch.rand(2, 3, 4).double()
    weight = torch.cat([true, torch.rand(2, 3, 3).double()], dim=2)
    loss = losses.negative_sampling(scores, true, weight)
    target = torch.cat([torch.ones(2, 3, 4), torch.zeros(2, 3, 3)], dim=2).double()
    expected = F.binary_cross_entropy_with_logits(scores, target, weight, reduction="sum")
    torch.testing.assert_close(loss, expected)
    found, wanted = (torch.autograd.grad(3 * value, scores)[0] for value in (loss, expected))
    torch.testing.assert_close(found, wanted)
