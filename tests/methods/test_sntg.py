import math

import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.mean_teacher import MeanTeacher
from withhold.methods.semisupervised.sntg import SNTG


def make(cls=SNTG, **parameters):
    torch.manual_seed(0)
    method = cls(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)
    method.progress = 0.4
    return method


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def test_loss_is_that_of_mean_teacher_and_the_hinge_of_pairs_written_out():
    method, rng = make(weight=6.0, graph=0.5, margin=1.2), torch.Generator().manual_seed(0)
    scores, features = torch.randn(5, 3, generator=rng), torch.rand(5, 8, generator=rng) * 2
    answers, labels, others = torch.eye(3)[[1, 1, 2, 0, 2]], torch.tensor([2, 0]), torch.tensor([2, 3, 4, 0, 1])
    said = [2, 0, 2, 0, 2]  # labels where there are any, answers elsewhere
    features.requires_grad_()
    cost = 0.0
    for i, j in enumerate(others.tolist()):
        apart = (features[i] - features[j]).square().mean().sqrt()
        cost += apart**2 if said[i] == said[j] else (1.2 - apart).clamp(min=0) ** 2
    cost *= 6 * math.exp(-1.25) * 0.5 / 5
    usual = make(MeanTeacher, weight=6.0).loss(scores, (labels, answers, None))
    found = method.loss((scores, features), (labels, answers, None, others))
    assert found["loss"].item() == pytest.approx(usual["loss"].item() + cost.item(), rel=1e-4)
    constant = usual["trivial"].item() + 6 * math.exp(-1.25) * 0.5 * 1.2**2 * 2 / 5  # two pairs of different classes
    assert found["trivial"].item() == pytest.approx(constant, rel=1e-4)
    slopes = (torch.autograd.grad(each, features)[0] for each in (found["loss"], cost))
    torch.testing.assert_close(*slopes)


def test_every_image_is_compared_with_one_of_the_same_batch():
    seen, (labels, answers, views, others) = make().hide(streams())
    assert len(seen) == len(answers) == len(views) == 24 and len(labels) == 12
    assert others.sort().values.tolist() == list(range(24))


def test_an_image_beside_itself_costs_nothing_and_has_a_finite_gradient():
    method, labels = make(), torch.tensor([0, 1])
    features = torch.rand(2, 8, requires_grad=True)
    terms = method.loss((torch.zeros(2, 3), features), (labels, torch.eye(3)[:2], None, torch.arange(2)))
    assert terms["neighbours"] == 0
    terms["loss"].backward()
    assert (features.grad == 0).all()


def test_features_of_classes_come_to_lie_further_apart_than_without_the_graph_and_new_images_are_named():
    ratios = []
    new, labels = tinted_images(20, seed=2)
    for graph in (0.0, 0.4):
        method = make(flip=0.0, weight=10.0, graph=graph)
        overfit(method, streams(), seeds=range(25))
        assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
        features = method.encoder(new / 255)
        apart, same = torch.cdist(features, features), labels[:, None] == labels
        ratios.append((apart[~same].mean() / apart[same].mean()).item())
    assert ratios[1] > 1.1 * ratios[0]
