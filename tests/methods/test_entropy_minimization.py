import math

import pytest
import torch
from scipy import stats

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.entropy_minimization import EntropyMinimization


def make(**parameters):
    torch.manual_seed(0)
    return EntropyMinimization(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def test_loss_is_the_cross_entropy_of_labels_and_the_entropy_of_the_rest():
    labels, scores = torch.tensor([2, 0]), torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    shares = scores.softmax(1).numpy()
    named = [-math.log(row[label]) for row, label in zip(shares, labels.tolist(), strict=False)]
    expected = sum(named) / 2 + 0.3 * sum(stats.entropy(row) for row in shares[2:]) / 5
    assert make(weight=0.3).loss(scores, (labels,))["loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_trivial_is_what_the_best_constant_answer_costs(weight):
    method, labels = make(weight=weight), torch.arange(3)
    shares = [torch.tensor([a, b, 1 - a - b]) for a in torch.linspace(0.01, 0.98, 40)
              for b in torch.linspace(0.01, 0.99 - a, 40)]  # fmt: skip
    costs = [method.loss(constant.log().repeat(6, 1), (labels,))["loss"].item() for constant in shares]
    trivial = method.loss(torch.zeros(6, 3), (labels,))["trivial"]
    assert min(costs) == pytest.approx(trivial, rel=1e-3)


def test_a_step_makes_the_answers_to_unlabelled_images_surer():
    unsure = torch.tensor([[0.0, 0, 0], [1.0, 0.5, 0]], requires_grad=True)
    make(weight=1.0).loss(unsure, (torch.tensor([0]),))["loss"].backward()
    assert unsure.grad[1, 0] < 0 < unsure.grad[1, 2]


def test_new_images_are_named_and_surer_than_by_labels_alone():
    batch = {"labelled": tinted_images(4), "unlabelled": tinted_images(4, seed=1)[0]}
    new, labels = tinted_images(20, seed=2)
    entropies = []
    for weight in (0.0, 1.0):
        method = make(weight=weight, flip=0.0)
        overfit(method, batch, seeds=range(30))
        shares = method.eval().classify(new / 255).softmax(1)
        assert (shares.argmax(1) == labels).float().mean() > 0.9
        entropies.append(torch.special.entr(shares).sum(1).mean())
    assert entropies[1] < 0.9 * entropies[0]


def test_a_value_out_of_range_is_named():
    with pytest.raises(ValueError, match="weight"):
        make(weight=-1.0)
