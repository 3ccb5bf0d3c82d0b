import pytest
import torch
from scipy import stats

from withhold import views
from withhold.views.random import beta


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("concentration", [0.5, 0.75, 1.0, 4.0])
def test_beta_is_scipys(concentration):
    drawn = beta(4000, concentration, rng())
    assert stats.kstest(drawn.double(), stats.beta(concentration, concentration).cdf).pvalue > 1e-3


def test_beta_does_not_underflow():
    drawn = beta(1000, 1e-3, rng())
    assert drawn.isfinite().all()
    assert ((drawn < 0.01) | (drawn > 0.99)).float().mean() > 0.9
    assert 0.4 < drawn.mean() < 0.6


def test_images_and_targets_are_mixed_alike_and_stay_mostly_themselves():
    """Every image has one lit pixel of its own, so that a mixture shows its parts."""
    n = 900
    images = torch.eye(n).view(n, 1, 30, 30)
    targets = torch.eye(n)
    mixed, told = views.mixup(images, targets, rng(), 0.75)
    torch.testing.assert_close(mixed.flatten(1), told)
    torch.testing.assert_close(told.sum(1), torch.ones(n))
    own = told.diagonal()
    assert own.min() >= 0.5
    assert ((told > 0).sum(1) <= 2).all()
    apart = own < 1  # where the other one is not the image itself
    larger = stats.beta(0.75, 0.75).cdf
    assert stats.kstest(own[apart].double(), lambda x: larger(x) - larger(1 - x)).pvalue > 1e-3
    assert ((told > 0).sum(0) <= 2).all()  # itself and one other: the partners are a permutation


def test_hardly_anything_is_mixed_with_a_small_alpha():
    images, targets = torch.rand(50, 3, 4, 4, generator=rng()), torch.eye(50)
    mixed, told = views.mixup(images, targets, rng(), 1e-3)
    assert (mixed - images).abs().flatten(1).amax(1).median() < 1e-6
    assert torch.equal(told.argmax(1), torch.arange(50))


def test_partners_are_a_permutation_that_leaves_none_in_its_place():
    rng = torch.Generator().manual_seed(0)
    counts = torch.zeros(5, 5)
    for _ in range(2000):
        others = views.partners(5, rng)
        assert others.sort().values.tolist() == [0, 1, 2, 3, 4]
        counts[torch.arange(5), others] += 1
    assert (counts.diagonal() == 0).all()
    assert counts[~torch.eye(5, dtype=torch.bool)] == pytest.approx(500, abs=90)  # four deviations
