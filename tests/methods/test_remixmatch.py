import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, tinted_images
from withhold import data, nets
from withhold.methods.semisupervised.remixmatch import ReMixMatch


def make(**parameters):
    torch.manual_seed(0)
    return ReMixMatch(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


def shares(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


def entropy(scores, targets):
    """The mean cross-entropy, as a loop."""
    rows = zip(scores.softmax(1).tolist(), targets.tolist(), strict=True)
    return sum(-q * math.log(p) for said, true in rows for p, q in zip(said, true, strict=True)) / len(scores)


def test_loss_is_cross_entropy_of_labels_of_mixed_guesses_of_guesses_and_of_turns():
    method = make(weight=6.0, anchor=0.7, rotation=0.3)
    method.progress = 0.4
    labels, guesses, turns = shares(2), shares(6, 1), torch.tensor([3, 1])  # four of mixed views, two unmixed
    scores, ways = shares(10, 2).log() * 3, torch.randn(10, 4, generator=torch.Generator().manual_seed(3))
    parts = (
        entropy(scores[:2], labels),
        6 * math.exp(-5 * 0.5**2) * entropy(scores[2:6], guesses[:4]),
        0.7 * entropy(scores[6:8], guesses[4:]),
        0.3 * entropy(ways[8:], F.one_hot(turns, 4)),
    )
    terms = method.loss((scores, ways), (labels, guesses, None, turns))
    assert terms["loss"].item() == pytest.approx(sum(parts), rel=1e-5)
    constant = make(weight=6.0, anchor=0.7, rotation=0.3)
    constant.progress = 0.4
    best = [part.mean(0).log().expand(n, 3) for part, n in ((guesses[:4], 4), (guesses[4:], 2))]
    said = torch.cat([torch.zeros(2, 3), *best, torch.zeros(2, 3)])
    terms = constant.loss((said, torch.zeros(10, 4)), (labels, guesses, None, turns))
    assert terms["loss"].item() == pytest.approx(float(terms["trivial"]), rel=1e-5)


@pytest.mark.parametrize("copies", [1, 3])
def test_every_view_of_an_image_learns_the_aligned_and_sharpened_answer_to_its_weak_one(copies):
    method = make(copies=copies, temperature=0.5, alpha=1e-4).eval()
    with torch.no_grad():
        method.head.weight.mul_(5)
    method.prior.copy_(torch.tensor([0.2, 0.3, 0.5]))
    method.answered.copy_(torch.tensor([0.5, 0.25, 0.25]).expand(128, 3))
    batch = streams()
    seen, (labels, guesses, others, turns) = method.hide(batch)
    n = 12
    assert seen.shape == ((1 + copies + 1 + 2) * n, 3, 16, 16)
    assert guesses.shape == ((copies + 2) * n, 3) and len(others) == len(turns) == n
    own = guesses[-n:]
    for answer, guess in zip(method.student()(others).softmax(1).tolist(), own.tolist(), strict=True):
        aligned = [a * w / u for a, w, u in zip(answer, (0.2, 0.3, 0.5), (0.5, 0.25, 0.25), strict=True)]
        powers = [(share / sum(aligned)) ** 2 for share in aligned]
        assert guess == pytest.approx([power / sum(powers) for power in powers], rel=1e-3)
    near = (guesses[:-n].unflatten(0, (-1, n)) - own).abs().amax(2) < 1e-5  # hardly anything is mixed
    assert near.float().mean() > 0.8
    assert (labels - F.one_hot(batch["labelled"][1], 3)).abs().amax(1).median() < 1e-6
    same = (seen[n * (1 + copies) : n * (2 + copies)] - others).abs().flatten(1).amax(1) < 1e-6
    assert same.float().mean() > 0.5, "the weak view is among the mixed ones"


def test_the_last_views_are_those_before_them_in_quarter_turns():
    seen, (_, _, _, turns) = make().hide(streams(per_class=10))
    anchored, turned = seen[-60:-30], seen[-30:]
    assert set(turns.tolist()) == {0, 1, 2, 3}
    for before, after, turn in zip(anchored, turned, turns.tolist(), strict=True):
        for _ in range(turn):
            before = before.flip(2).transpose(1, 2)  # counter-clockwise
        assert torch.equal(before, after)


def test_the_classes_shares_are_those_of_labels_and_of_the_latest_answers():
    images, labels = random_images(8, size=16), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])
    samples = data.load((images.permute(0, 2, 3, 1).numpy(), labels.numpy()), size=16)
    method = make()
    method.prepare(labelled=samples, unlabelled=samples)
    assert method.prior.tolist() == [5 / 8, 2 / 8, 1 / 8]
    method.hide(streams())
    mean = method.fresh[0][0].mean(0)
    method.after_step()
    torch.testing.assert_close(method.answered.mean(0), (127 / 3 + mean) / 128)
    torch.testing.assert_close(method.answered[-1], mean)
    for _ in range(128):
        method.keep(torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.1, 0.6]]))
        method.after_step()
    torch.testing.assert_close(method.answered.mean(0), torch.tensor([0.2, 0.2, 0.6]))


def test_alignment_keeps_a_network_from_saying_the_same_of_all():
    """It gives a class that is answered always as small a share as the labels do."""
    method = make()
    with torch.no_grad():
        method.head.bias.add_(torch.tensor([4.0, 0, 0]))
    method.hide(streams())
    (said,) = method.kept()
    assert said.mean(0)[0] > 0.9
    for _ in range(128):
        method.keep(said)
        method.after_step()
    _, (_, guesses, _, _) = method.hide(streams())
    assert guesses[-12:].mean(0)[0] < 0.6


def test_no_gradient_flows_into_guesses_and_all_views_go_through_the_network_at_once():
    method, sizes = make(), []
    seen, withheld = method.hide(streams())
    assert not any(part.requires_grad for part in withheld)
    method.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    method.predict(seen)
    assert sizes == [6 * 12]


def test_new_images_are_named_after_a_few_steps():
    method = make(flip=0.0, copies=1)
    terms = overfit(method, streams(), seeds=range(60))
    assert terms[-1]["loss"] < terms[-1]["trivial"]
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9
