import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.fixmatch import FixMatch


def make(**parameters):
    torch.manual_seed(0)
    return FixMatch(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


LABELS = torch.tensor([2, 0])
ANSWERS = torch.tensor([[0.9, 0.06, 0.04], [0.7, 0.2, 0.1], [0.01, 0.01, 0.98]])
SCORES = torch.tensor([[0.0, 1, 2], [3, 0, 1], [1, 2, 0], [0, 1, 0], [2, 1, 1]])


def test_loss_is_cross_entropy_of_labels_and_of_sure_guesses_over_all():
    said = SCORES.softmax(1).tolist()
    supervised = -(math.log(said[0][2]) + math.log(said[1][0])) / 2
    guessed = -(math.log(said[2][0]) + math.log(said[4][2])) / 3  # 0.9 and 0.98 of the three are sure
    terms = make(weight=2.0, confidence=0.9).loss(SCORES, (LABELS, ANSWERS, None))
    assert terms["loss"].item() == pytest.approx(supervised + 2 * guessed, rel=1e-5)
    assert terms["counted"].item() == pytest.approx(2 / 3)


def test_what_is_not_sure_teaches_nothing_and_only_the_strong_view_learns():
    scores = SCORES.clone().requires_grad_()
    make(confidence=0.8).loss(scores, (LABELS, ANSWERS, None))["loss"].backward()
    assert (scores.grad.abs().sum(1) > 0).tolist() == [True, True, True, False, True]
    expected = (scores.detach()[2:].softmax(1) - F.one_hot(torch.tensor([0, 0, 2]), 3)) / 3
    torch.testing.assert_close(scores.grad[[2, 4]], expected[[0, 2]])
    _, (_, answers, others) = make().hide(streams())
    assert not (answers.requires_grad or others.requires_grad)


def test_more_and_more_guesses_come_to_count_and_they_are_right():
    method, given = make(flip=0.0), streams()
    first, *_, last = overfit(method, given, seeds=range(80))
    assert first["counted"] == 0
    assert last["counted"] > 0.5
    assert last["supervised"] < 0.5 * first["supervised"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
