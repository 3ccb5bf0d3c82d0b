import functools
import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets
from withhold.contract import tiny
from withhold.methods.image.dino import DINO
from withhold.training.optimizers import build


def make(encoder="convnet", size=32, **parameters):
    torch.manual_seed(0)
    return DINO(nets.build(encoder, size=size, channels=3), **parameters)


def test_loss_is_the_cross_entropy_of_every_crop_with_every_other_large_one():
    method = make(prototypes=5, temperature=0.5)
    n, crops = 3, 4
    scores, shares = torch.randn(crops * n, 5), torch.rand(2 * n, 5)
    shares = shares / shares.sum(1, keepdim=True)
    pairs = []
    for large in range(2):
        for crop in range(crops):
            if crop != large:
                for image in range(n):
                    weights = [math.exp(score / 0.5) for score in scores[crop * n + image].tolist()]
                    said = [weight / sum(weights) for weight in weights]
                    true = shares[large * n + image].tolist()
                    pairs.append(-sum(p * math.log(q) for p, q in zip(true, said, strict=True)))
    assert len(pairs) == 2 * 3 * n
    assert method.loss(scores, shares)["loss"].item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_trivial_is_what_the_best_constant_costs_and_entropy_tells_the_two_collapses_apart():
    method = make(prototypes=5)
    shares = (3 * torch.randn(20, 5)).softmax(1)
    terms = method.loss(method.temperature * shares.mean(0).log().expand(40, 5), shares)
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-5)
    for _ in range(50):
        assert method.loss(torch.randn(5).expand(40, 5), shares)["loss"] > terms["trivial"]
    one, all_alike = torch.eye(5)[:1].expand(20, 5), torch.full((20, 5), 0.2)
    for said, entropy in ((one, 0.0), (all_alike, math.log(5))):
        terms = method.loss(torch.randn(40, 5), said)
        assert terms["trivial"].item() == pytest.approx(entropy, abs=1e-5)
        assert terms["entropy"].item() == pytest.approx(entropy, abs=1e-5)


def test_the_teacher_sees_large_crops_and_is_centred_and_sharp():
    """Without batch statistics a score depends on its own crop alone."""
    method = make(prototypes=16, local_views=3, teacher_temperature=0.02).eval()
    method.centre.copy_(torch.randn(16) / 10)
    (large, small), shares = method.hide({"images": random_images(4)})
    assert large.shape == (8, 3, 32, 32)
    assert small.shape == (12, 3, 16, 16)
    expected = ((method.teacher(large) - method.centre) / 0.02).softmax(1)
    torch.testing.assert_close(shares, expected)
    assert method.predict((large, small)).shape == (20, 16)
    assert not method.fresh


def test_scores_are_cosines_with_the_prototypes():
    head = make(prototypes=7).head
    features = torch.randn(3, 256)
    projected, prototypes = head[0](features).detach(), head[1].weight.detach()
    expected = [[float(p @ w / p.norm() / w.norm()) for w in prototypes] for p in projected]
    torch.testing.assert_close(head(features), torch.tensor(expected))


def test_all_crops_of_a_size_run_in_one_pass():
    method, ran = make(local_views=2), []
    method.encoder.register_forward_pre_hook(lambda _, given: ran.append(tuple(given[0].shape)))
    seen, _ = method.hide({"images": random_images(4)})
    method.predict(seen)
    assert ran == [(8, 3, 32, 32), (8, 3, 16, 16)]


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.25, 0.91464), (1.0, 1.0)])
def test_teacher_and_centre_follow_and_take_no_gradient(progress, momentum):
    method = make(momentum=0.9, prototypes=16)
    old = [p.clone() for p in method.teacher.parameters()]
    with torch.no_grad():
        for parameter in method.student().parameters():
            parameter.add_(torch.randn_like(parameter))
    method.progress = progress
    method({"images": random_images(8)})["loss"].backward()
    mean, centre = method.fresh[0][0].mean(0), torch.randn(16)
    method.centre.copy_(centre)
    method.after_step()
    torch.testing.assert_close(method.centre, 0.9 * centre + 0.1 * mean)
    assert not method.fresh
    students = list(method.student().parameters())
    assert len(old) == len(students) > 0
    for teacher, before, student in zip(method.teacher.parameters(), old, students, strict=True):
        assert teacher.grad is None
        torch.testing.assert_close(teacher, momentum * before + (1 - momentum) * student, atol=1e-4, rtol=1e-3)
    trained = {id(p) for group in build([method], method.optimizer, 1e-3).param_groups for p in group["params"]}
    assert trained == {id(p) for p in students}


class Uncentred(DINO):
    def after_step(self):
        super().after_step()
        self.centre.zero_()


@functools.cache
def learned(cls, photographs=False, teacher_temperature=0.04):
    """The last terms of a short training on photographs, or on images that have little in common."""
    torch.manual_seed(0)
    method = cls(nets.build("convnet", size=16, channels=3), prototypes=64, teacher_temperature=teacher_temperature)
    images = tiny.photographs(16).batch(range(64)) if photographs else smooth_images(64, size=16)
    return overfit(method, images, seeds=range(40), lr=1e-3)[-1]


def test_a_few_images_are_learned():
    terms = learned(DINO, photographs=True)
    assert terms["loss"] < 0.9 * terms["trivial"]


def test_without_the_centre_it_says_the_same_prototype_of_all_images():
    assert learned(Uncentred)["trivial"] < 1 < 0.9 * math.log(64) < learned(DINO)["trivial"]


def test_with_a_blunt_teacher_it_says_all_prototypes_alike():
    blunt, sharp = learned(DINO, teacher_temperature=0.2), learned(DINO)
    assert sharp["entropy"] < 0.9 * math.log(64) < 0.99 * math.log(64) < blunt["entropy"]


@pytest.mark.parametrize("encoder", ["convnet", "vit-tiny"])
def test_the_picture_shows_where_the_student_sees_what_it_says(encoder):
    method = make(encoder, prototypes=16).eval()
    with torch.no_grad():
        seen, shares = method.hide({"images": smooth_images(4)})
        scores = method.predict(seen)
        first, said = seen[0][:4], scores[:4].argmax(1)
        places, maps = method.places(first, said), method.encoder.maps(first)
        assert places.shape == (4, 1, *maps.shape[2:])
        for image, row, column in ((0, 0, 1), (3, 2, 0)):
            expected = method.head(maps[image : image + 1, :, row, column])[0, said[image]]
            torch.testing.assert_close(places[image, 0, row, column], expected)
        order = torch.tensor([2, 0, 3, 1])
        shares[4:] = torch.eye(16)[said][order]  # what the teacher says of the second views
        shares[:4] = 1 / 16
        shown = method.picture(seen, shares, scores)
    assert set(shown) == {"seen", "other view", "said", "where"}
    alike = [said.tolist().count(number) == 1 for number in said.tolist()]
    for image, place in enumerate(order.argsort().tolist()):
        assert not alike[image] or torch.equal(shown["said"][image], seen[0][4 + place])
    for lit, crop, scores in zip(shown["where"], first, places, strict=True):
        scores = F.interpolate(scores[None], (32, 32), mode="bilinear")[0]
        torch.testing.assert_close(lit, crop * (scores - scores.min()) / (scores.max() - scores.min()))
