import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from withhold.nets.logistic import fit, head, moments, probe


@pytest.fixture
def problem():
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (400,), generator=rng)
    x = torch.randn(400, 6, generator=rng) + torch.randn(3, 6, generator=rng)[labels]
    mean, deviation = moments(x)
    return (x - mean) / deviation, labels


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_equals_scikit_learn(problem, strength):
    from sklearn.linear_model import LogisticRegression

    x, labels = problem
    theirs = LogisticRegression(C=1 / (len(x) * strength), tol=1e-8, max_iter=1000).fit(x.numpy(), labels.numpy())
    ours = fit(x, labels, 3, strength)
    np.testing.assert_allclose(ours.weight.numpy(), theirs.coef_, atol=2e-3)
    # Biases are determined up to a constant.
    np.testing.assert_allclose((ours.bias - ours.bias.mean()).numpy(), theirs.intercept_, atol=2e-3)
    np.testing.assert_allclose(ours(x).softmax(1).numpy(), theirs.predict_proba(x.numpy()), atol=1e-3)


def test_the_objectives_gradient_is_zero_at_the_solution(problem):
    x, labels = problem
    found = fit(x, labels, 3, 1e-2)
    residual = (found(x).softmax(1) - F.one_hot(labels, 3)) / len(x)
    assert (residual.T @ x + 1e-2 * found.weight).abs().max() < 1e-4
    assert residual.sum(0).abs().max() < 1e-4


def test_a_warm_start_arrives_at_the_same_place(problem):
    x, labels = problem
    warm = fit(x, labels, 3, 1e-3, start=fit(x, labels, 3, 1.0))
    torch.testing.assert_close(warm(x), fit(x, labels, 3, 1e-3)(x), atol=5e-3, rtol=0)


def test_two_gaussians_give_the_rate_of_bayes():
    """Unit deviations, means 2 apart: the best rule is right with probability Phi(1)."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (40_000,), generator=rng)
    x = torch.randn(40_000, 2, generator=rng)
    x[:, 0] += 2 * labels
    found = fit(x[:20_000], labels[:20_000], 2, 1e-4)
    accuracy = (found(x[20_000:]).argmax(1) == labels[20_000:]).float().mean().item()
    bayes = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert abs(accuracy - bayes) < 0.01


def test_it_works_where_gradients_are_off(problem):
    x, labels = problem
    with torch.no_grad():
        assert fit(x, labels, 3, 1e-2).weight.abs().max() > 0.1


def test_moments_of_constant_features_divide_by_one():
    bank = torch.stack([torch.full((1000,), 0.3), torch.zeros(1000), torch.arange(1000.0)], dim=1)
    mean, deviation = moments(bank)
    np.testing.assert_allclose(mean.numpy(), [0.3, 0, 499.5], rtol=1e-6)
    np.testing.assert_allclose(deviation.numpy(), [1, 1, math.sqrt((1000**2 - 1) / 12)], rtol=1e-6)


def test_one_deviation_of_all_features_is_the_root_of_their_mean_variance():
    bank = torch.stack([torch.tensor([0.0, 4.0]), torch.tensor([5.0, 5.0])], dim=1)
    mean, deviation = moments(bank, alike=True)
    np.testing.assert_allclose(mean.numpy(), [2, 5])
    np.testing.assert_allclose(deviation.numpy(), [math.sqrt(2)] * 2, rtol=1e-6)
    assert (moments(torch.full((5, 2), 0.1), alike=True)[1] == 1).all()


def test_a_head_is_a_probe_of_standardised_features_and_takes_a_strength(problem):
    x, labels = problem
    features = 3 * x + torch.arange(x.shape[1])
    found, strength = head(features, labels, 3)
    mean, deviation = moments(features, alike=True)
    same, chosen = probe((features - mean) / deviation, labels, 3, torch.Generator().manual_seed(0))
    assert strength == chosen
    torch.testing.assert_close(found(features), same((features - mean) / deviation), atol=1e-3, rtol=1e-3)
    again, given = head(features, labels, 3, strength=0.5)
    assert given == 0.5 and again.weight.norm() < found.weight.norm()
    torch.testing.assert_close(
        again(features),
        fit((features - mean) / deviation, labels, 3, 0.5)((features - mean) / deviation),
        atol=1e-3,
        rtol=1e-3,
    )


def test_weights_of_classes_are_scikit_learns(problem):
    from sklearn.linear_model import LogisticRegression

    x, labels = problem
    kept = (labels > 0) | (torch.arange(len(labels)) % 4 == 0)
    x, labels = x[kept], labels[kept]
    weights = len(labels) / (3 * labels.bincount())
    theirs = LogisticRegression(C=100 / len(x), class_weight="balanced", tol=1e-8, max_iter=1000).fit(x, labels)
    ours = fit(x, labels, 3, 1e-2, weights=weights)
    np.testing.assert_allclose(ours(x).softmax(1).numpy(), theirs.predict_proba(x.numpy()), atol=1e-3)
