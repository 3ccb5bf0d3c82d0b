import math

import numpy as np
import pytest
import torch
from scipy import stats

from withhold import losses


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.4, 0.5, 1.0, 3.0])
def test_sharpening_is_a_power_and_a_softmax_at_another_temperature(temperature):
    scores = random(6, 5)
    shares = scores.softmax(1)
    sharp = losses.sharpen(shares, temperature)
    for row, found in zip(shares.tolist(), sharp.tolist(), strict=True):
        powers = [share ** (1 / temperature) for share in row]
        assert found == pytest.approx([power / sum(powers) for power in powers], rel=1e-4)
    torch.testing.assert_close(sharp, (scores / temperature).softmax(1))


def test_sharpening_bears_shares_whose_powers_underflow():
    sharp = losses.sharpen(torch.tensor([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]]), 0.001)
    assert sharp.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_divergence_is_the_relative_entropy_of_every_row():
    target, scores = random(7, 4).softmax(1), random(7, 4, seed=1)
    target[0] = torch.tensor([1.0, 0, 0, 0])
    expected = [stats.entropy(t, p) for t, p in zip(target.numpy(), scores.softmax(1).numpy(), strict=True)]
    assert losses.divergence(target, scores).tolist() == pytest.approx(expected, rel=1e-4)
    assert losses.divergence(scores.softmax(1), scores).abs().max() < 1e-6


def test_the_direction_that_a_linear_answer_minds_most_is_across_its_two_classes():
    """For any scale of the samples, and of the step at which the gradient is taken."""
    weight, items = random(2, 12) * 0.2, random(6, 3, 2, 2, seed=1)

    def answer(items):
        return items.flatten(1) @ weight.T

    for reach in (0.1, 5.0):
        rng = torch.Generator().manual_seed(0)
        found = losses.virtual_adversarial(answer, items, answer(items).softmax(1), reach, rng)
        across = (weight[0] - weight[1]) / (weight[0] - weight[1]).norm()
        torch.testing.assert_close((found.flatten(1) @ across).abs(), torch.ones(6), atol=1e-3, rtol=0)
        assert not found.requires_grad
    assert losses.virtual_adversarial(answer, items[:0], answer(items[:0]), 1.0, rng).shape == (0, 3, 2, 2)


def test_an_item_is_changed_along_the_slope_of_the_divergence_and_not_against_it():
    """For a linear model W x, the gradient of KL(p || softmax(W x)) is (softmax(W x) - p) W."""
    weight, items = random(3, 12), random(6, 12, seed=1)
    shares = (items @ weight.T).softmax(1)
    found = losses.changed_for_the_worst(lambda x: x @ weight.T, items, shares, 0.5, torch.Generator().manual_seed(2))
    length, step = 0.5 * 12**0.5, random(6, 12, seed=2)
    seen = items + length * step / step.norm(dim=1, keepdim=True)
    slope = ((seen @ weight.T).softmax(1) - shares) @ weight
    torch.testing.assert_close(found, items + length * slope / slope.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(("most", "worst"), [(5, [1.0, 1, 0, 0, 1]), (1, [0.0, 1, 0, 0, 1])])
def test_of_a_mask_only_entries_are_turned_that_make_the_answer_differ_more(most, worst):
    """The target is class 0: entries for class 1 are switched on, and entries against class 1 off."""
    weight, shares = torch.tensor([2.0, 1.0, -1.0, -2.5, 3.0]), torch.tensor([[0.999, 0.001]])
    for start, end in (([0.0, 1, 0, 1, 1], worst), ([1.0, 1, 0, 0, 1], [1.0, 1, 0, 0, 1])):

        def answer(masks):
            return torch.stack([torch.zeros(1), masks @ weight], 1)

        assert losses.adversarial_mask(answer, torch.tensor([start]), shares, most).tolist() == [end]


@pytest.mark.parametrize(("step", "exponent"), [(0, -5), (8, -3.2), (20, -1.25), (40, 0), (41, 0), (1000, 0)])
def test_the_ramp_rises_like_half_a_gaussian_and_stays(step, exponent):
    assert losses.ramp_up(step / 40) == pytest.approx(math.exp(exponent))


@pytest.mark.parametrize("confidence", [0.0, 0.6, 0.9])
def test_what_is_not_sure_before_it_is_sharpened_counts_as_nothing(confidence):
    answers, scores = random(40, 3).mul(2).softmax(1), random(40, 3, seed=1)
    sure = [max(answer) > confidence for answer in answers.tolist()]
    assert any(sure) and (confidence == 0 or not all(sure))
    expected = sum(
        stats.entropy(np.sqrt(answer) / np.sqrt(answer).sum(), said)
        for answer, said, counts in zip(answers.numpy(), scores.softmax(1).numpy(), sure, strict=True)
        if counts
    )
    found, share = losses.sure_divergence(answers, scores, 2.0, confidence)
    assert found.item() == pytest.approx(expected / 40, rel=1e-4)
    assert share.item() == pytest.approx(sum(sure) / 40)


def test_labels_that_are_known_well_are_left_out_of_the_mean():
    scores, labels = random(50, 3).mul(2), torch.arange(50) % 3
    shares = [row[label] for row, label in zip(scores.softmax(1).tolist(), labels.tolist(), strict=True)]
    for known in (0.4, 0.7, 1.0):
        kept = [-math.log(share) for share in shares if share <= known]
        found = losses.annealed_cross_entropy(scores, labels, known)
        assert found.item() == pytest.approx(sum(kept) / len(kept), rel=1e-4)
    scores = scores.requires_grad_()
    found = losses.annealed_cross_entropy(scores, labels, 0.0)
    found.backward()
    assert found == 0 and (scores.grad == 0).all()


@pytest.mark.parametrize(
    ("way", "half"), [("none", 1.0), ("log", 1 - math.exp(-2.5)), ("linear", 0.5), ("exp", math.exp(-2.5))]
)
def test_annealing_rises_from_chance_to_one(way, half):
    found = [losses.annealing(way, progress, 3) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([1.0 if way == "none" else 1 / 3, 1 / 3 + half * 2 / 3, 1.0], abs=0.01)


@pytest.mark.parametrize("confidence", [0.6, torch.tensor([0.5, 0.9, 0.99])])
def test_a_sure_answer_is_a_label_by_its_class_and_another_one_counts_as_nothing(confidence):
    answers, scores = random(40, 3).mul(2).softmax(1), random(40, 3, seed=1).requires_grad_()
    bars = confidence.tolist() if torch.is_tensor(confidence) else [confidence] * 3
    guesses = [max(range(3), key=answer.__getitem__) for answer in answers.tolist()]
    sure = [answer[guess] >= bars[guess] for answer, guess in zip(answers.tolist(), guesses, strict=True)]
    said = scores.detach().log_softmax(1).tolist()
    costs = [-row[guess] * counts for row, guess, counts in zip(said, guesses, sure, strict=True)]
    found, share = losses.sure_cross_entropy(answers, scores, confidence)
    found.backward()
    assert found.item() == pytest.approx(sum(costs) / 40, rel=1e-4)
    assert share.item() == pytest.approx(sum(sure) / 40)
    assert (scores.grad.abs().sum(1) > 0).tolist() == sure
    assert losses.sure_cross_entropy(answers[:0], scores[:0], confidence) == (0, 0)


def test_aligned_answers_are_scaled_class_by_class():
    answers, usual, wanted = random(6, 3).softmax(1), torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.25, 0.25, 0.5])
    for answer, found in zip(answers.tolist(), losses.align(answers, usual, wanted).tolist(), strict=True):
        scaled = [a * w / u for a, w, u in zip(answer, wanted.tolist(), usual.tolist(), strict=True)]
        assert found == pytest.approx([share / sum(scaled) for share in scaled], rel=1e-5)
    torch.testing.assert_close(losses.align(answers, wanted, wanted), answers)
    assert losses.align(answers, torch.tensor([0.0, 0.5, 0.5]), wanted).isfinite().all()


def test_entropy_is_scipys_and_has_a_finite_gradient_where_an_answer_is_utterly_sure():
    scores = torch.tensor([[1.0, 2.0, 3.0], [200.0, 0.0, 1.0]], requires_grad=True)
    found = losses.entropy(scores)
    assert found.tolist() == pytest.approx(stats.entropy(scores.detach().softmax(1).numpy(), axis=1).tolist(), abs=1e-6)
    found.sum().backward()
    assert scores.grad.isfinite().all()


def test_the_entropy_of_counts_is_scipys():
    numbers = torch.tensor([[0, 2, 2], [5, 2, 0]])
    assert losses.entropy_of_counts(numbers, 6).item() == pytest.approx(stats.entropy([2, 0, 3, 0, 0, 1]))
    assert losses.entropy_of_counts(numbers[:0], 6) == 0
