import math

import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.methods.semisupervised.freematch import FreeMatch


def make(**parameters):
    torch.manual_seed(0)
    return FreeMatch(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


LABELS = torch.tensor([2, 0])
ANSWERS = torch.tensor([[0.62, 0.2, 0.18], [0.55, 0.25, 0.2], [0.1, 0.52, 0.38], [0.3, 0.25, 0.45]])
SCORES = torch.tensor([[0.0, 1, 2], [3, 0, 1], [1, 2, 0], [0, 1, 0], [2, 1, 1], [0, 0, 1]])


def with_averages(sureness, shares, histogram, **parameters):
    method = make(**parameters)
    for buffer, value in ((method.sureness, sureness), (method.shares, shares), (method.histogram, histogram)):
        buffer.copy_(torch.tensor(value))
    return method


def test_a_class_that_is_answered_seldom_has_a_lower_threshold():
    method = with_averages(0.6, [0.5, 0.4, 0.1], [0.6, 0.3, 0.1])
    assert method.confidence.tolist() == pytest.approx([0.6, 0.6 * 0.4 / 0.5, 0.6 * 0.1 / 0.5])
    assert make().confidence.tolist() == pytest.approx([1 / 3] * 3), "chance, at the start"


def test_loss_is_cross_entropy_of_labels_of_sure_guesses_and_the_fairness_term():
    method = with_averages(0.6, [0.5, 0.4, 0.1], [0.6, 0.3, 0.1], weight=2.0, fairness=0.5)
    said = SCORES.softmax(1).tolist()
    supervised = -(math.log(said[0][2]) + math.log(said[1][0])) / 2
    guesses = {2: 0, 4: 1, 5: 2}  # 0.62 is above 0.6, 0.55 is not, 0.52 is above 0.48, 0.45 above 0.12
    guessed = -sum(math.log(said[row][guess]) for row, guess in guesses.items()) / 4
    # Strong views of the sure ones are taken for the classes 1, 0 and 2.
    batch = [sum(said[row][k] for row in guesses) for k in range(3)]
    usual = [0.5 / 0.6, 0.4 / 0.3, 0.1 / 0.1]
    fairness = -sum(u / sum(usual) * math.log(b / sum(batch)) for u, b in zip(usual, batch, strict=True))
    terms = method.loss(SCORES, (LABELS, ANSWERS, None))
    assert terms["supervised"].item() == pytest.approx(supervised, rel=1e-5)
    assert terms["unsupervised"].item() == pytest.approx(guessed, rel=1e-5)
    assert terms["fairness"].item() == pytest.approx(fairness, rel=1e-5)
    assert terms["loss"].item() == pytest.approx(supervised + 2 * guessed + 0.5 * fairness, rel=1e-5)
    assert terms["counted"].item() == pytest.approx(3 / 4)


def test_fairness_counts_in_relation_to_how_often_a_class_is_the_likeliest():
    method = with_averages(0.6, [0.5, 0.3, 0.2], [0.5, 0.25, 0.25])
    said = torch.tensor([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.0, 0.0, 0.0]])
    usual, batch = [0.5 / 0.5, 0.3 / 0.25], [1.6 / 2, 1.1 / 1]  # the third class is never the likeliest
    expected = -sum(u / sum(usual) * math.log(b / sum(batch)) for u, b in zip(usual, batch, strict=True))
    assert method.unfairness(said).item() == pytest.approx(expected, rel=1e-5)
    assert method.unfairness(torch.zeros(4, 3)) == 0


def test_fairness_is_least_where_a_batch_is_as_all_images_are():
    method = with_averages(0.6, [0.5, 0.3, 0.2], [1 / 3] * 3)
    scores = torch.zeros(3, 3).fill_diagonal_(3.0).requires_grad_()  # each class is the likeliest once
    optimizer = torch.optim.SGD([scores], lr=5.0)
    for _ in range(300):
        optimizer.zero_grad()
        method.unfairness(scores.softmax(1)).backward()
        optimizer.step()
    torch.testing.assert_close(scores.detach().softmax(1).mean(0), method.shares, atol=0.02, rtol=0)


def test_averages_follow_the_answers_after_each_step_and_are_kept():
    method = make(memory=0.75)
    expected = [1 / 3, [1 / 3] * 3, [1 / 3] * 3]
    for seed in range(3):
        method.seed(seed)
        _, (_, answers, _) = method.hide(streams())
        assert torch.equal(method.fresh[0][0], answers)
        rows = answers.tolist()
        guesses = [max(range(3), key=row.__getitem__) for row in rows]
        now = (
            sum(map(max, rows)) / 12,
            [sum(row[k] for row in rows) / 12 for k in range(3)],
            [guesses.count(k) / 12 for k in range(3)],
        )
        method.after_step()
        expected[0] = 0.75 * expected[0] + 0.25 * now[0]
        for place in (1, 2):
            expected[place] = [0.75 * old + 0.25 * new for old, new in zip(expected[place], now[place], strict=True)]
    other = make()
    other.load_state_dict(method.state_dict())
    for found in (method, other):
        assert found.sureness.item() == pytest.approx(expected[0], rel=1e-4)
        assert found.shares.tolist() == pytest.approx(expected[1], rel=1e-4)
        assert found.histogram.tolist() == pytest.approx(expected[2], rel=1e-4)


def test_all_count_at_first_and_the_threshold_rises_with_what_is_learned():
    method, given = make(flip=0.0, memory=0.9), streams()
    first, *_, last = overfit(method, given, seeds=range(60))
    assert first["counted"] == 1
    assert method.sureness > 0.6
    assert last["supervised"] < 0.5 * first["supervised"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
