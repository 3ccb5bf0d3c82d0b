import math

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import losses, nets
from withhold.methods.semisupervised.vadd import VAdD


def make(**parameters):
    torch.manual_seed(0)
    method = VAdD(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)
    method.progress = 1.0  # the weight has risen
    return method


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def test_loss_is_the_cross_entropy_and_the_divergence_of_answers_through_masks_written_out():
    method, rng = make(weight=3.0, changed=0.0), torch.Generator().manual_seed(0)
    features, labels = torch.randn(5, 256, generator=rng), torch.tensor([2, 0])
    masks = (torch.rand(8, 256, generator=rng) < 0.5).float()

    def said(row, mask):
        return method.head(features[row] * masks[mask] * 256 / masks[mask].sum()).softmax(0).tolist()

    named = -math.log(said(0, 0)[2]) - math.log(said(1, 1)[0])
    divergence = sum(stats.entropy(said(i, i), said(i, i + 3)) for i in (2, 3, 4))
    found = method.loss(features, (labels, masks))["loss"].item()
    assert found == pytest.approx(named / 2 + 3 * divergence / 3, rel=1e-4)


def test_the_divergence_is_that_through_the_worst_masks_and_counts_as_far_as_the_weight_has_risen():
    method, rng = make(weight=3.0, changed=0.1), torch.Generator().manual_seed(0)
    method.progress = 0.4  # half of the ramp in a short training
    with torch.no_grad():
        method.head.weight.mul_(10)
        features, labels = torch.rand(5, 256, generator=rng), torch.tensor([2, 0])
        own, kept, drawn = (torch.rand(8, 256, generator=rng) < 0.5).float().split([2, 3, 3])
        answers = method.read(features[2:], kept).softmax(1)
        worst = losses.adversarial_mask(lambda mask: method.read(features[2:], mask), drawn, answers, 25)
        named = F.cross_entropy(method.read(features[:2], own), labels).item()
        divergence = losses.divergence(answers, method.read(features[2:], worst)).mean().item()
    terms, risen = method.loss(features, (labels, torch.cat([own, kept, drawn]))), math.exp(-5 * 0.5**2)
    assert terms["loss"].item() == pytest.approx(named + 3 * risen * divergence, rel=1e-4)
    assert terms["counted"] == pytest.approx(risen)


def test_a_mask_for_the_worst_changes_the_answer_more_than_random_turns_of_as_many_features():
    method, rng = make(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        method.head.weight.mul_(10)
    features, masks = torch.rand(40, 256, generator=rng), (torch.rand(2, 40, 256, generator=rng) < 0.5).float()
    answers = method.read(features, masks[0]).softmax(1).detach()
    worst = losses.adversarial_mask(lambda mask: method.read(features, mask), masks[1], answers, 12)
    turned = (worst != masks[1]).sum(1)
    assert (turned <= 12).all() and (turned > 6).all() and worst.unique().tolist() == [0, 1]
    places = torch.rand(masks[1].shape, generator=rng).argsort(1).argsort(1) < 12
    start, random, found = (
        losses.divergence(answers, method.read(features, mask)).mean()
        for mask in (masks[1], (masks[1] - places.float()).abs(), worst)
    )
    assert found > 1.5 * start and found > 1.3 * random


def test_from_the_mask_of_the_answer_itself_nothing_is_the_worst():
    """Why two masks are drawn: at the smallest divergence the slopes are 0."""
    method = make()
    features, mask = torch.rand(6, 256), (torch.rand(6, 256) < 0.5).float()
    mask.requires_grad_()
    scores = method.read(features, mask)
    (slope,) = torch.autograd.grad(losses.divergence(scores.softmax(1).detach(), scores).sum(), mask)
    assert slope.abs().max() < 1e-6


def test_the_gradient_goes_through_the_answer_to_the_worst_mask_alone():
    method, labels = make(changed=0.0), torch.tensor([0])
    features = torch.rand(2, 256, requires_grad=True)
    masks = torch.zeros(3, 256)
    masks[0], masks[1, :128], masks[2, 128:] = 1, 1, 1
    method.loss(features, (labels, masks))["loss"].backward()
    assert (features.grad[1, :128] == 0).all() and features.grad[1, 128:].any() and features.grad[0].any()


def test_masks_drop_the_share_that_they_shall_and_are_two_for_an_unlabelled_image():
    method = make(dropout=0.3)
    seen, (labels, masks) = method.hide(streams())
    assert len(seen) == 24 and masks.shape == (12 + 2 * 12, 256)
    assert masks.mean().item() == pytest.approx(0.7, abs=0.02)
    assert not torch.equal(masks[12:24], masks[24:])
    assert torch.equal(labels, streams()["labelled"][1])


def test_new_images_are_named_after_a_few_steps():
    method = make(flip=0.0)
    first, *_, last = overfit(method, streams(), seeds=range(30))
    assert last["loss"] < 0.5 * last["trivial"] and last["supervised"] < 0.5 * first["supervised"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
