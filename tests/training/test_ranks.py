"""Batch normalisation across ranks, tested in one process; test_loop.py trains with two."""

import pytest
import torch
from torch import nn

from withhold.training.ranks import BatchNormAcrossRanks, synchronize_batch_norm


class Rectified(nn.BatchNorm2d):
    """Somebody's own, which does more than its base."""

    def forward(self, x):
        return super().forward(x).relu()


def test_batch_norm_across_ranks_is_batch_norm_in_one():
    """Also far from zero, where the mean of squares less the square of the mean has no digit left."""
    x = (10 + 0.01 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0))).requires_grad_()
    plain, across = nn.BatchNorm1d(5), nn.BatchNorm1d(5)
    synchronize_batch_norm(across)
    expected, found = plain(x), across(x)
    assert torch.allclose(found, expected, atol=2e-3)
    assert torch.allclose(across.running_var, plain.running_var)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), x) for y in (found, expected)), strict=True):
        assert torch.allclose(a, b, atol=0.05)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm2d(3, affine=False),
        lambda: nn.BatchNorm2d(3, bias=False),
        lambda: nn.BatchNorm2d(3, momentum=None),
        lambda: nn.BatchNorm2d(3, track_running_stats=False),
        lambda: Rectified(3),
        nn.LazyBatchNorm2d,
    ],
    ids=["plain", "unbiased", "cumulative", "untracked", "own", "lazy"],
)
def test_every_kind_of_batch_norm_stays_what_it_is(make):
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    plain, across = make(), make()
    assert torch.equal(plain(x), across(x))  # which tells a lazy one how wide it is
    synchronize_batch_norm(across)
    synchronize_batch_norm(across)  # as a second training does
    assert isinstance(across, BatchNormAcrossRanks)
    for training in (True, False):
        assert torch.allclose(across.train(training)(x), plain.train(training)(x), atol=1e-5)
    assert across.state_dict().keys() == plain.state_dict().keys()
    for a, b in zip(across.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.allclose(a, b)
