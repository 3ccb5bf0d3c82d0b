import copy
import math

import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.fast_swa import FastSWA
from withhold.training.optimizers import schedule


def make(**parameters):
    torch.manual_seed(0)
    return FastSWA(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def wander(method, steps, start=0, stop=None):
    """The weights of the head after each of some random steps, by their number."""
    path = {}
    for step in range(start, steps if stop is None else stop):
        method.progress = step / steps
        with torch.no_grad():
            method.head.weight.add_(torch.randn_like(method.head.weight))
        method.after_step()
        path[step] = method.head.weight.detach().clone()
    return path


def test_loss_is_cross_entropy_of_labels_and_squared_error_of_all_answers():
    method = make(weight=8.0)
    method.progress = 0.4
    scores, answers = torch.randn(5, 3) * 2, torch.randn(5, 3).softmax(1)
    said = scores.softmax(1).tolist()
    entropy = -(math.log(said[0][2]) + math.log(said[1][0])) / 2
    squares = sum((p - q) ** 2 for row, true in zip(said, answers.tolist(), strict=True)
                  for p, q in zip(row, true, strict=True))  # fmt: skip
    found = method.loss(scores, (torch.tensor([2, 0]), answers, None))["loss"].item()
    assert found == pytest.approx(entropy + 8 * math.exp(-5 * 0.5**2) * squares / 15, rel=1e-5)


def test_what_answers_is_the_mean_over_moments_of_all_cycles_but_the_first():
    """Four moments in each of five cycles of 20 steps: every fifth step, from the last of the first cycle on."""
    method = make(moments=4)
    torch.manual_seed(1)
    path = wander(method, 100)
    expected = torch.stack([path[step] for step in range(19, 100, 5)]).mean(0)
    torch.testing.assert_close(method.teacher.network[1].weight, expected)


def test_a_continued_training_goes_on_averaging_or_begins_anew():
    """After 100 steps of 100, 200 are a second half; 1,000 are the first cycle again."""
    for steps, averaged in ((200, 17 + 11), (1000, 17)):
        method = make(moments=4)
        torch.manual_seed(1)
        wander(method, 100)
        before = method.teacher.network[1].weight.clone()
        wander(method, steps, start=100)
        assert method.averaged == averaged
        assert not torch.equal(method.teacher.network[1].weight, before)


def test_in_the_first_cycle_it_is_the_network_itself():
    method = make(moments=4)
    path = wander(method, 100, stop=20)
    assert torch.equal(method.teacher.network[1].weight, path[19])


def test_moments_lie_where_a_cycle_of_the_learning_rate_is_high_and_where_it_is_low():
    steps, cycles = 1000, FastSWA.optimizer.cycles
    moments = range(steps // cycles - 1, steps, steps // cycles // 10)
    rates = [schedule(FastSWA.optimizer, step, steps, 0) for step in moments]
    assert max(rates) > 0.95 and rates[0] == rates[-1] == min(rates) < 0.05


def test_what_it_averages_over_is_kept():
    method, other = make(moments=4), make(moments=4)
    wander(method, 100, stop=50)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for each in (method, other):
        torch.manual_seed(2)
        wander(each, 100, start=50)
    assert torch.equal(method.teacher.network[1].weight, other.teacher.network[1].weight)


def test_answers_are_the_networks_own_to_other_views_and_have_no_gradient():
    method, batch = make().eval(), streams()
    seen, (labels, answers, others) = method.hide(batch)
    assert seen.shape == others.shape == (24, 3, 16, 16)
    assert not torch.equal(seen, others)
    assert torch.equal(labels, batch["labelled"][1])
    torch.testing.assert_close(answers, method.predict(others).softmax(1))
    assert not answers.requires_grad


def test_new_images_are_named_after_a_few_steps():
    method = make(flip=0.0, weight=10.0)
    method.progress = 0.19  # in the first cycle
    first, *_, last = overfit(method, streams(), seeds=range(60))
    assert last["supervised"] < 0.5 * first["supervised"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
