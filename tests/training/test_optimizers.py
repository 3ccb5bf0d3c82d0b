import math

import pytest
import torch
from torch import nn

from withhold.errors import UsageError
from withhold.methods import ImageEncoder, Optimizer
from withhold.training.optimizers import LARS, adapt, build, clip, peak_lr, schedule


def test_lars_steps_by_its_formula():
    """Two steps of You et al. written out: local rate = trust * |w| / |g + decay * w|, momentum 0.9."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    optimizer = build([layer], Optimizer("lars", weight_decay=0.1), lr=0.5)
    momentum_weight, momentum_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    for seed in (1, 2):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        gradient = layer.weight.grad.clone() + 0.1 * weight
        gradient *= 0.001 * weight.norm() / gradient.norm()
        momentum_weight = 0.9 * momentum_weight + gradient
        momentum_bias = 0.9 * momentum_bias + layer.bias.grad.clone()
        optimizer.step()
        weight, bias = weight - 0.5 * momentum_weight, bias - 0.5 * momentum_bias
        assert torch.allclose(layer.weight, weight, atol=1e-6)
        assert torch.allclose(layer.bias, bias, atol=1e-6)


def test_lars_survives_weights_and_gradients_of_zero():
    layer = nn.Linear(2, 2)
    nn.init.zeros_(layer.weight)
    optimizer = LARS(layer.parameters(), lr=0.1)
    layer.weight.grad, layer.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.isfinite(layer.weight).all()


@pytest.mark.parametrize("sparse", [True, False])
def test_adagrad_steps_rows_by_its_formula(sparse):
    """Rows that occur several times in a step count as their sum; those that do not occur stay."""
    torch.manual_seed(0)
    table = nn.Embedding(6, 3, sparse=sparse)
    optimizer = build([table], Optimizer("adagrad", weight_decay=0.0), 0.3)
    weight, sums = table.weight.detach().clone(), torch.zeros(6)
    for words in ([0, 2, 2, 5], [2, 4, 2, 2]):
        optimizer.zero_grad()
        (table(torch.tensor(words)) ** 2 * torch.arange(1.0, 4)).sum().backward()
        optimizer.step()
        for row in set(words):
            gradient = words.count(row) * 2 * weight[row] * torch.arange(1.0, 4)
            sums[row] += (gradient**2).mean()
            weight[row] -= 0.3 * gradient / sums[row].sqrt()
    torch.testing.assert_close(table.weight.detach(), weight)


@pytest.mark.parametrize("shape", [(4, 1), (4,), ()])
def test_adagrad_of_rows_of_one_number_is_torchs(shape):
    """And of what has no rows, as biases: other methods may be trained with it too."""
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    optimizers = (
        build([nn.ParameterList([ours])], Optimizer("adagrad", weight_decay=0.0), 0.3),
        torch.optim.Adagrad([theirs], 0.3),
    )
    for scale in (0.0, 1.0, -3.0, 0.5):
        for table, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (table.flatten() ** 2 * torch.arange(1.0, table.numel() + 1) * scale).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_sparse_gradients_have_one_optimiser():
    own = Optimizer("adagrad", weight_decay=0.0)
    assert adapt(own, None, 0.2, None).lr == 0.2
    for name, decay in (("adamw", None), (None, 0.1)):
        with pytest.raises(UsageError, match=r"only adagrad without weight decay supports these\. Remove --optimizer"):
            adapt(own, name, None, decay)
    with pytest.raises(UsageError, match=r"adagrad has no weight decay\. Remove --weight-decay"):
        adapt(Optimizer("adamw"), "adagrad", None, 0.1)


@pytest.mark.parametrize("norm", [0.1, 1e6])
def test_sparse_gradients_are_clipped_as_dense_ones_are(norm):
    """A row that occurs several times in a step counts as their sum."""
    found = []
    for sparse in (True, False):
        torch.manual_seed(0)
        net = nn.ModuleDict(
            {"table": nn.Embedding(6, 3, sparse=sparse), "head": nn.Linear(3, 1), "idle": nn.Linear(1, 1)}
        )
        net["head"](net["table"](torch.tensor([0, 2, 2, 5, 2]))).square().sum().backward()
        optimizer = build([net], Optimizer("adagrad", weight_decay=0.0), 0.3)
        before = clip(optimizer, norm)
        found.append([before, *(p.grad.to_dense() for p in net.parameters() if p.grad is not None)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
    joint = torch.cat([gradient.flatten() for gradient in found[0][1:]]).norm().item()
    assert joint == pytest.approx(min(norm, found[0][0].item()), rel=1e-4)


def test_biases_and_normalisation_are_not_decayed():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    for name in ("adamw", "sgd"):
        groups = build([module], Optimizer(name, weight_decay=0.3), lr=1.0).param_groups
        assert [g["weight_decay"] for g in groups] == [0.3, 0.0]
        assert all(p.ndim == 2 for p in groups[0]["params"])
        assert len(groups[1]["params"]) == 3


def test_a_shared_parameter_is_stepped_once_and_a_frozen_one_never():
    layer, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    groups = build([layer, nn.Sequential(layer), frozen], Optimizer(), lr=1.0).param_groups
    assert sum(len(g["params"]) for g in groups) == 2


def test_the_peak_grows_with_the_batch():
    assert peak_lr(Optimizer("sgd", lr=0.1), 512) == pytest.approx(0.2)
    assert peak_lr(Optimizer("adamw", lr=0.1), 1024) == pytest.approx(0.2)


def test_the_schedule_rises_then_falls_as_a_cosine():
    shares = [schedule(Optimizer(), step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1
    assert shares[55] == pytest.approx(0.001 + 0.999 * 0.5)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[99] == pytest.approx(0.001 + 0.999 * (1 + math.cos(math.pi * 89 / 90)) / 2)


def test_a_constant_schedule_stays_at_the_peak_after_the_warm_up():
    shares = [schedule(Optimizer(schedule="constant"), step, 50, 5) for step in range(50)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(shares[5:]) == {1.0}


def test_a_cyclic_schedule_falls_along_equal_cosines():
    """Equation 5 of Loshchilov & Hutter: from the peak, with a restart after every 25 of 100 steps."""
    shares = [schedule(Optimizer(schedule="cyclic", cycles=4), step, 100, 10) for step in range(100)]
    cosine = [0.001 + 0.5 * 0.999 * (1 + math.cos(math.pi * step / 25)) for step in range(25)]
    assert shares == pytest.approx(cosine * 4)


def test_an_unknown_optimiser_is_named():
    with pytest.raises(UsageError, match="There is no optimiser 'adam': did you mean adamw"):
        build([nn.Linear(1, 1)], Optimizer("adam"), lr=1.0)


def test_lars_scales_weights_that_are_not_decayed_and_never_biases():
    steps = {}
    for decay in (0.0, 1e-9):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        before = [p.detach().clone() for p in layer.parameters()]
        optimizer = build([layer], Optimizer("lars", weight_decay=decay), lr=1.0)
        layer(torch.ones(4, 3)).square().sum().backward()
        gradient = layer.bias.grad.clone()
        optimizer.step()
        steps[decay] = layer.weight.detach() - before[0]
        assert torch.allclose(layer.bias, before[1] - gradient)
        assert steps[decay].norm() == pytest.approx(0.001 * before[0].norm().item(), rel=1e-4)
    assert torch.allclose(steps[0.0], steps[1e-9])


def test_the_learning_rate_falls_from_stage_to_stage_towards_the_input():
    class Tiny(ImageEncoder):
        def __init__(self):
            super().__init__(4, 3, 8, 1)
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.bare = nn.Parameter(torch.zeros(4, 1, 1))
            self.outside = nn.Parameter(torch.zeros(2, 2))

        def stages(self):
            return [[self.first, self.bare], [self.last]]

    encoder, head = Tiny(), nn.Linear(4, 2)
    modules = [nn.ModuleList([encoder, head])]
    groups = build(modules, Optimizer(), lr=1.0, encoder_lr=0.1, layer_decay=0.5).param_groups
    shares = {id(p): group["share"] for group in groups for p in group["params"]}
    assert {shares[id(p)] for p in (*encoder.first.parameters(), encoder.bare)} == {0.05}
    assert {shares[id(p)] for p in (*encoder.last.parameters(), encoder.outside)} == {0.1}
    assert {shares[id(p)] for p in head.parameters()} == {1.0}
    assert groups[0]["share"] == 1.0  # the journal shows the first group's learning rate
    assert {group["share"] for group in build(modules, Optimizer(), lr=1.0).param_groups} == {1.0}


def test_an_encoder_inside_another_has_the_stages_of_the_outer_one():
    class Inner(ImageEncoder):
        def __init__(self):
            super().__init__(4, 3, 8, 1)
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def stages(self):
            return [[self.first], [self.last]]

    class Outer(ImageEncoder):
        def __init__(self):
            super().__init__(4, 3, 8, 1)
            self.frames, self.after = Inner(), nn.Conv2d(4, 4, 1)

        def stages(self):
            return [[self.frames], [self.after]]

    encoder = Outer()
    groups = build([encoder], Optimizer(), lr=1.0, encoder_lr=0.1, layer_decay=0.5).param_groups
    shares = {id(p): group["share"] for group in groups for p in group["params"]}
    assert {shares[id(p)] for p in encoder.frames.parameters()} == {0.05}
