import math

import pytest
import torch

from tests.methods.toys import overfit, tinted_images
from withhold import nets
from withhold.errors import UsageError
from withhold.methods.semisupervised.uda import UDA


def make(**parameters):
    torch.manual_seed(0)
    return UDA(nets.build("convnet", size=16, channels=3), ("red", "green", "blue"), **parameters)


def streams(per_class=4):
    return {"labelled": tinted_images(per_class), "unlabelled": tinted_images(per_class, seed=1)[0]}


LABELS = torch.tensor([2, 0])
ANSWERS = torch.tensor([[0.9, 0.06, 0.04], [0.7, 0.2, 0.1], [0.01, 0.01, 0.98]])
SCORES = torch.tensor([[0.0, 1, 2], [3, 0, 1], [1, 2, 0], [0, 1, 0], [2, 1, 1]])


def test_loss_is_cross_entropy_and_the_divergence_of_sure_answers_over_all():
    method = make(weight=2.0, temperature=0.5, confidence=0.8)
    said = SCORES.softmax(1).tolist()
    supervised = -(math.log(said[0][2]) + math.log(said[1][0])) / 2
    divergence = 0.0
    for row, answer in zip(said[2:], ANSWERS.tolist(), strict=True):
        if max(answer) > 0.8:  # before it is sharpened; 0.7 would pass after
            powers = [share**2 for share in answer]
            sharp = [power / sum(powers) for power in powers]
            divergence += sum(q * math.log(q / p) for p, q in zip(row, sharp, strict=True))
    terms = method.loss(SCORES, (LABELS, ANSWERS, None))
    assert terms["loss"].item() == pytest.approx(supervised + 2 * divergence / 3, rel=1e-5)
    assert terms["counted"].item() == pytest.approx(2 / 3)


def test_only_sure_answers_teach_and_only_the_strong_view_learns():
    scores, answers = SCORES.clone().requires_grad_(), ANSWERS.clone().requires_grad_()
    make().loss(scores, (LABELS, answers.detach(), None))["loss"].backward()
    assert (scores.grad.abs().sum(1) > 0).tolist() == [True, True, True, False, True]
    method = make()
    _, (_, answers, others) = method.hide(streams())
    assert not (answers.requires_grad or others.requires_grad)


def test_labelled_images_that_are_known_well_are_left_out_for_the_time():
    method = make(annealing="linear", weight=0.0)
    said = SCORES.softmax(1)
    assert said[0, 2] == pytest.approx(0.67, abs=0.01) and said[1, 0] == pytest.approx(0.84, abs=0.01)
    expected = {0.0: 0.0, 0.6: -said[0, 2].log(), 1.0: -(said[0, 2].log() + said[1, 0].log()) / 2}
    for progress, loss in expected.items():  # nothing, one and both of them are below 0.33, 0.73 and 1
        method.progress = progress
        scores = SCORES.clone().requires_grad_()
        terms = method.loss(scores, (LABELS, ANSWERS, None))
        terms["loss"].backward()
        assert terms["loss"].item() == pytest.approx(float(loss), rel=1e-5)
        assert (scores.grad[:2].abs().sum(1) > 0).sum() == {0.0: 0, 0.6: 1, 1.0: 2}[progress]


def test_answers_are_the_networks_own_to_the_weak_views():
    """Without batch statistics an answer depends on its own view alone."""
    method, batch = make().eval(), streams()
    with torch.no_grad():
        method.teacher.network[1].bias.add_(torch.tensor([3.0, 0, 0]))  # whose answers they are not
    seen, (labels, answers, others) = method.hide(batch)
    assert seen.shape == (24, 3, 16, 16)
    assert torch.equal(labels, batch["labelled"][1])
    torch.testing.assert_close(answers, method.predict(others).softmax(1))
    assert (others.mean((2, 3)) - batch["unlabelled"].float().mean((2, 3)) / 255).abs().max() < 0.05


def test_only_unlabelled_images_are_changed_strongly_with_half_their_side_erased():
    seen, (_, _, others) = make().hide(streams(per_class=20))

    def squares(views):
        return ((views == 0.5).all(1, keepdim=True).float().unfold(2, 8, 1).unfold(3, 8, 1).mean((4, 5)) == 1).sum(
            (1, 2, 3)
        )

    assert (squares(seen[60:]) >= 1).all()
    assert (squares(seen[:60]) == 0).all()
    assert (squares(others) == 0).all()


@pytest.mark.parametrize("augmentation", ["flip", "cutout", "randaugment"])
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_labelled_images_may_be_shown_as_strongly_as_the_others(augmentation, weight):
    for labelled_views in ("weak", "strong"):
        method = make(augmentation=augmentation, labelled_views=labelled_views, weight=weight)
        seen, (_, _, others) = method.hide(streams(per_class=20))
        erased = (seen == 0.5).all(1).float().mean((1, 2)) > 0.2
        strong = augmentation != "flip"
        assert (erased[:60] == (strong and labelled_views == "strong")).all()
        assert (erased[60:] == strong).all()
        assert not (others == 0.5).all(1).any()
        assert len(erased) == (120 if weight else 60)


def test_magnitude_is_how_far_strong_views_stray():
    images = tinted_images(60)[0]

    def strayed(magnitude):
        method = make(magnitude=magnitude, flip=0.0)
        strong = method.strong(images)
        return (strong.mean((1, 2, 3)) - images.float().mean((1, 2, 3)) / 255).abs().mean()

    assert strayed(0.0) < strayed(15.0) < strayed(30.0)


def test_new_images_are_named_after_a_few_steps():
    method = make(flip=0.0, confidence=0.5)
    first, *_, last = overfit(method, streams(), seeds=range(60))
    assert last["supervised"] < 0.5 * first["supervised"]
    assert last["counted"] > 0.9
    new, labels = tinted_images(20, seed=2)
    assert (method.eval().classify(new / 255).argmax(1) == labels).float().mean() > 0.9


def test_one_unlabelled_image_has_no_statistics_to_normalise_its_features_by():
    method = UDA(nets.build("perceptron", size=16, channels=3), ("red", "green", "blue"))
    labelled, others = streams()["labelled"], streams()["unlabelled"]
    with pytest.raises(UsageError, match="uda with Perceptron normalises features over the unlabelled samples"):
        method({"labelled": labelled, "unlabelled": others[:1]})
    assert method({"labelled": labelled, "unlabelled": others[:2]})["loss"].isfinite()
