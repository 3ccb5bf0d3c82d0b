import math

import pytest
import torch

from tests.methods.toys import overfit, smooth_images, tinted_images
from withhold import nets, views
from withhold.methods.semisupervised.few_shot import FewShot


def make(size=16, **parameters):
    torch.manual_seed(0)
    return FewShot(nets.build("convnet", size=size, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4, size=16):
    return {"labelled": tinted_images(per_class, size=size)}


LABELS = torch.tensor([2, 0])
SCORES = torch.tensor([[0.0, 1, 2], [3, 0, 1]])


def cost(scores, labels):
    return sum(math.log(sum(map(math.exp, row))) - row[k] for row, k in zip(scores, labels, strict=True)) / len(labels)


@pytest.mark.parametrize(("pretext", "answers"), [("rotation", 4), ("location", 8)])
def test_loss_is_the_sum_of_two_cross_entropies(pretext, answers):
    method = make(pretext=pretext, weight=0.5, size=32)
    said = torch.randn(3, answers, generator=torch.Generator().manual_seed(0))
    asked = torch.tensor([1, 3, 0])
    terms = method.loss((SCORES, said), (LABELS, asked))
    supervised, second = cost(SCORES.tolist(), LABELS.tolist()), cost(said.tolist(), asked.tolist())
    assert terms["loss"].item() == pytest.approx(supervised + second / 2, rel=1e-5)
    assert terms["pretext"].item() == pytest.approx(second, rel=1e-5)
    assert terms["pretext_accuracy"].item() == (said.argmax(1) == asked).float().mean()


def test_without_a_second_question_only_classes_are_told():
    method = make(pretext="none")
    assert not any("pretext" in name for name in method.state_dict())
    terms = method.loss((SCORES,), (LABELS,))
    assert terms["loss"].item() == pytest.approx(cost(SCORES.tolist(), LABELS.tolist()), rel=1e-5)
    ((seen,), (labels,)) = method.hide(streams())
    assert (len(seen), len(labels)) == (12, 12)


def test_scores_are_scaled_cosines_whatever_the_lengths():
    head = make().head
    assert head.scale.item() == 10 and head.scale.requires_grad
    features = torch.randn(5, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.scale.fill_(3.0)
        scores = head(features)
        for x, row in zip(features.double(), scores.tolist(), strict=True):
            for w, score in zip(head.weight.double(), row, strict=True):
                assert score == pytest.approx((3 * (x @ w) / x.norm() / w.norm()).item(), abs=1e-5)
        torch.testing.assert_close(head(7 * features), scores)


def test_all_turns_of_an_image_teach_its_class():
    (turned,), (labels, turns) = make(flip=0.0).hide(streams())
    upright = turned[:12]
    for turn in range(4):
        part = slice(12 * turn, 12 * turn + 12)
        assert torch.equal(turned[part].rot90(-turn, (2, 3)), upright)
        assert (turns[part] == turn).all()
        assert torch.equal(labels[part], streams()["labelled"][1])


def test_a_side_is_asked_of_two_patches_alone_and_a_class_of_the_whole_image():
    method = make(pretext="location", size=32).eval()
    images, labels = smooth_images(3), torch.tensor([0, 1, 2])
    (whole, patches), (named, sides) = method.hide({"labelled": (images, labels)})
    pairs = views.neighbours(2)
    assert patches.shape == (3, 4, 3, 12, 12)
    assert torch.equal(sides.view(3, 12)[1], pairs[:, 2])
    assert torch.equal(named, labels)
    with torch.no_grad():
        scores, said = method.predict((whole, patches))
        changed = patches.clone()
        changed[:, 3] = 0.5
        again, other = method.predict((whole, changed))
    untouched = (pairs[:, :2] != 3).all(1)
    assert torch.equal(scores, again)
    assert torch.allclose(said.view(3, 12, 8)[:, untouched], other.view(3, 12, 8)[:, untouched], atol=1e-5)
    assert (said.view(3, 12, 8)[:, ~untouched] - other.view(3, 12, 8)[:, ~untouched]).abs().max() > 1e-3


def test_weight_decides_how_much_the_second_question_teaches_the_encoder():
    """At 0 nothing of it, though the turned copies go on teaching the class."""
    for weight in (0.0, 1.0):
        method, batch = make(weight=weight), streams()
        method.seed(0)
        method(batch)["loss"].backward()
        assert (method.pretext_head[0].weight.grad.abs().sum() > 0) == bool(weight)
        assert method.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("pretext", ["rotation", "location"])
def test_the_second_question_alone_teaches_the_encoder(pretext):
    method = make(pretext=pretext, size=32)
    method({"labelled": (smooth_images(3), torch.arange(3))})["pretext"].backward()
    assert any(p.grad is not None and p.grad.any() for p in method.encoder.parameters())
    assert method.head.weight.grad is None


@pytest.mark.parametrize("pretext", ["rotation", "location", "none"])
def test_trivial_is_what_it_costs_to_look_at_nothing(pretext):
    """By the shares of the classes, which are not alike, and of the answers to the second question."""

    class Stream:
        labels = torch.tensor([0, 0, 0, 1, 2, 2])

    method = make(pretext=pretext, weight=2.0, size=32)
    method.prepare(Stream)
    classes = torch.tensor([3, 1, 2]) / 6
    expected = -(classes * classes.log()).sum().item()
    if pretext != "none":
        answers = torch.full((4,), 0.25)
        if pretext == "location":
            answers = views.neighbours(2)[:, 2].bincount() / 12
        expected += 2 * -(answers * answers.log()).sum().item()
    said, asked = () if pretext == "none" else (torch.zeros(1, 8),), () if pretext == "none" else (torch.tensor([0]),)
    assert method.loss((SCORES, *said), (LABELS, *asked))["trivial"].item() == pytest.approx(expected, rel=1e-5)


def test_it_names_new_images_and_tells_their_turn():
    method = make(flip=0.0)
    ramp = torch.linspace(0, 60, 16).byte()[:, None].expand(16, 16)  # which lets a turn be told
    images, labels = tinted_images(8)
    images = (images // 2 + ramp).contiguous()
    *_, last = overfit(method, {"labelled": (images, labels)}, seeds=range(35))
    assert last["loss"] < 0.5 * last["trivial"]
    assert last["pretext_accuracy"] > 0.8
    new, named = tinted_images(20, seed=2)
    new = new // 2 + ramp
    assert (method.eval().classify(new / 255).argmax(1) == named).float().mean() > 0.9


@pytest.mark.parametrize("pretext", ["rotation", "location", "none"])
def test_the_picture_shows_classes_and_what_was_asked(pretext):
    method = make(pretext=pretext, size=32).eval()
    visible, withheld = method.hide({"labelled": (smooth_images(2), torch.tensor([1, 2]))})
    columns = method.picture(visible, withheld, method.predict(visible))
    assert columns["label"][:2] == ["green", "blue"]
    if pretext == "rotation":
        assert columns["true"] == ["0°", "0°", "90°", "90°", "180°", "180°", "270°", "270°"]
        assert all(said.endswith("°") for said in columns["said"])
    assert ("patches" in columns) == (pretext == "location")


def test_a_value_out_of_range_is_named():
    for wrong in ({"pretext": "jigsaw"}, {"weight": -1.0}, {"flip": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make(**wrong)


def test_a_temperature_divides_the_scores():
    method = make(pretext="none")
    features = torch.randn(4, method.encoder.dim)
    before = method.head(features)
    method.temper(2.0)
    torch.testing.assert_close(method.head(features), before / 2)
