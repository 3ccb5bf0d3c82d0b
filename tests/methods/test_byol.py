import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.methods.image.byol import BYOL
from withhold.training.optimizers import build


def make(**parameters):
    torch.manual_seed(0)
    return BYOL(nets.build("convnet", size=32, channels=3), **parameters)


def test_loss_is_the_squared_distance_of_directions_both_ways():
    predicted, targets = torch.randn(10, 8), F.normalize(torch.randn(10, 8), dim=1)
    total = 0.0
    for half in (slice(0, 5), slice(5, 10)):  # the first views' predictions, then the second's
        unit = predicted[half] / predicted[half].norm(dim=1, keepdim=True)
        total += (unit - targets[half]).square().sum(1).mean().item()
    assert make().loss(predicted, targets)["loss"].item() == pytest.approx(total, rel=1e-5)


def test_trivial_is_what_the_best_constant_costs():
    method = make()
    targets = F.normalize(torch.randn(40, 3) + torch.tensor([1.0, 0, 0]), dim=1)
    trivial = method.loss(torch.randn(40, 3), targets)["trivial"].item()
    constants = F.normalize(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    costs = [method.loss(constant.expand(40, 3), targets)["loss"].item() for constant in constants]
    assert trivial <= min(costs) + 1e-6
    assert trivial == pytest.approx(min(costs), abs=0.01)
    collapsed = targets[:1].expand(40, 3)
    assert method.loss(collapsed, collapsed)["trivial"].item() == pytest.approx(0, abs=1e-5)


def test_the_target_of_a_view_is_the_other_views_embedding():
    """Without batch statistics an embedding depends on its own view alone."""
    method = make().eval()
    seen, targets = method.hide({"images": random_images(6)})
    assert seen.shape == (12, 3, 32, 32)
    embedded = F.normalize(method.teacher(seen), dim=1)
    assert torch.allclose(targets[:6], embedded[6:], atol=1e-5)
    assert torch.allclose(targets[6:], embedded[:6], atol=1e-5)
    assert not targets.requires_grad


def test_accuracy_compares_with_the_targets_of_the_same_direction():
    method = make()
    targets = F.normalize(torch.randn(12, 8), dim=1)
    assert method.loss(targets, targets)["accuracy"] == 1
    assert method.loss(targets.roll(1, 0), targets)["accuracy"] < 0.5
    twice = targets[:6].repeat(2, 1)  # what both views of an image have in common finds them all
    assert method.loss(twice, twice)["accuracy"] == 1


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_teacher_follows_ever_more_slowly_and_takes_no_gradient(progress, momentum):
    method = make(momentum=0.9)
    old = [p.clone() for p in method.teacher.parameters()]
    with torch.no_grad():
        for parameter in method.student().parameters():
            parameter.add_(torch.randn_like(parameter))
    method.progress = progress
    method({"images": random_images(8)})["loss"].backward()
    method.after_step()
    students = list(method.student().parameters())
    assert len(old) == len(students) > 0
    for teacher, before, student in zip(method.teacher.parameters(), old, students, strict=True):
        assert teacher.grad is None
        assert torch.allclose(teacher, momentum * before + (1 - momentum) * student, atol=1e-6)


def test_the_optimiser_has_the_predictor_and_not_the_teacher():
    method = make()
    trained = {id(p) for group in build([method], method.optimizer, 1e-3).param_groups for p in group["params"]}
    assert trained == {id(p) for module in (method.student(), method.predictor) for p in module.parameters()}


def test_a_few_images_are_learned_without_collapse():
    method = make()
    images = smooth_images(32)
    last = overfit(method, images, seeds=range(60))[-10:]
    assert sum(terms["trivial"] - terms["loss"] for terms in last) > 0
    _, targets = method.hide({"images": images})
    assert targets.std(0).mean() * targets.shape[1] ** 0.5 > 0.3
