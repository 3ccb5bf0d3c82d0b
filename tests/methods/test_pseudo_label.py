import math

import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.pseudo_label import PseudoLabel


def make(**parameters):
    torch.manual_seed(0)
    method = PseudoLabel(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)
    method.progress, method.steps = 1.0, 10**6  # the weight has risen
    return method


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


@pytest.mark.parametrize("confidence", [0.0, 0.6, 0.99])
def test_loss_is_the_cross_entropy_of_labels_and_of_the_likeliest_classes_that_are_sure(confidence):
    method, labels = make(weight=2.0, confidence=confidence), torch.tensor([2, 0])
    scores = 2 * torch.randn(42, 3, generator=torch.Generator().manual_seed(0))
    shares = scores.softmax(1).tolist()
    named = [-math.log(row[label]) for row, label in zip(shares, labels.tolist(), strict=False)]
    sure = [-math.log(max(row)) for row in shares[2:] if max(row) > confidence]
    terms = method.loss(scores, (labels,))
    assert terms["loss"].item() == pytest.approx(sum(named) / 2 + 2 * sum(sure) / 40, rel=1e-5)
    assert terms["counted"].item() == pytest.approx(len(sure) / 40)


def test_the_weight_rises_slowly():
    method, scores, found = make(weight=2.0, confidence=0.0), torch.randn(6, 3), []
    for method.progress in (0.0, 0.1, 0.4, 0.9):
        terms = method.loss(scores, (torch.tensor([1, 0]),))
        found.append(((terms["loss"] - terms["supervised"]) / terms["unsupervised"]).item())
    assert found == pytest.approx([2 * math.exp(-5), 2 * math.exp(-5 * 0.75**2), 2, 2], rel=1e-5)


def test_only_sure_images_take_a_gradient_which_makes_them_surer():
    method = make(confidence=0.9)
    scores = torch.tensor([[0.0, 0, 0], [4.0, 0, 0], [1.0, 0, 0]], requires_grad=True)
    method.loss(scores, (torch.tensor([1]),))["loss"].backward()
    assert scores.grad[1, 0] < 0 < scores.grad[1, 1]
    assert not scores.grad[2].any()


def test_new_images_are_named_after_a_few_steps():
    method, batch = make(flip=0.0), streams()
    terms = overfit(method, batch, seeds=range(60))
    assert terms[-1]["counted"] > 0.5
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
