"""Dense multitask: the cost of each task, what the tasks share, and the predictions."""

import math

import pytest
import torch

from tests.methods.test_segmentation import NAMES, scenes
from tests.methods.toys import overfit
from withhold import nets, views
from withhold.data.samples import Samples
from withhold.errors import UsageError
from withhold.methods import build, find

TASKS = ("mask", "edges", "corners")


def make(name="dense_multitask", **values):
    torch.manual_seed(0)
    return build(find(name), nets.build("convnet", size=32, channels=3), values, {"classes": NAMES})


def samples(images, masks):
    names = torch.arange(len(images)).numpy().astype(str)
    found = Samples(images.permute(0, 2, 3, 1).numpy(), names, source="scenes")
    found.give("mask", Samples(masks[..., None].numpy(), names, classes=NAMES))
    return found


def prepared(**values):
    method = make(**values)
    method.prepare(samples(*scenes()))
    return method


def test_targets_are_the_views_mask_and_its_standardised_edges_and_corners():
    method = prepared()
    shares = scenes()[1][scenes()[1] != 255].long().bincount() / (scenes()[1] != 255).sum()
    assert method.guess.item() == pytest.approx(-(shares * shares.log()).sum().item(), rel=0.1)  # of other crops
    seen, (masks, responses) = method.hide({"images": scenes()})
    assert masks.shape == (16, 32, 32) and responses.shape == (16, 2, 32, 32)
    for place, function in enumerate((views.edges, views.corners)):
        plain = responses[:, place] * method.responses.deviation[place] + method.responses.mean[place]
        torch.testing.assert_close(plain, function(seen)[:, 0], atol=1e-5, rtol=1e-4)
    assert responses.mean((0, 2, 3)).abs().max() < 0.3 and (responses.std((0, 2, 3)) - 1).abs().max() < 0.3


def test_costs_are_1_for_trivial_predictions():
    method = prepared()
    _, (masks, responses) = method.hide({"images": scenes()})
    known = masks[masks != 255].long()
    shares = known.bincount(minlength=3) / len(known)
    method.guess = -(shares * shares.log()).sum()
    responses = (responses - responses.mean((0, 2, 3), keepdim=True)) / responses.std(
        (0, 2, 3), correction=0, keepdim=True
    )
    said = shares.log()[:, None, None].expand(16, 3, 32, 32), torch.zeros(16, 2, 32, 32)
    terms = method.loss(said, (masks, responses))
    assert [terms[f"cost of {task}"].item() for task in TASKS] == pytest.approx([1, 1, 1], rel=1e-4)
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item()) == pytest.approx(1, rel=1e-4)


def test_the_loss_is_the_mean_of_the_costs():
    method = prepared()
    seen, (masks, responses) = method.hide({"images": scenes(4)})
    scores, own = method.predict(seen)
    cost, count = 0.0, 0
    for picture, mask in zip(scores.movedim(1, -1), masks, strict=True):
        for pixel, label in zip(picture.reshape(-1, 3), mask.flatten().tolist(), strict=True):
            if label != 255:
                cost, count = cost - pixel.log_softmax(0)[label].item(), count + 1
    expected = cost / count / method.guess.item() + sum(
        (own[:, place] - responses[:, place]).square().sum().item() / responses[:, place].numel() for place in (0, 1)
    )
    assert method.loss((scores, own), (masks, responses))["loss"].item() == pytest.approx(expected / 3, rel=1e-4)


def test_the_mask_alone_is_segmentation():
    """The same weights, views and loss, in units of the entropy of the classes."""
    method, plain = prepared(tasks="mask"), make("segmentation")
    batch = {"images": scenes()}
    method.rng.manual_seed(1)
    plain.rng.manual_seed(1)
    found, expected = method(batch), plain(batch)
    assert found["loss"].item() * method.guess.item() == pytest.approx(expected["loss"].item(), rel=1e-5)
    assert found["accuracy of mask"] == expected["accuracy"]
    assert set(method.says()) == {"mask"} and not prepared(tasks="edges").says()


def test_masks_without_a_class_leave_the_other_tasks():
    method = prepared(balance="uncertainty")
    images, masks = scenes(4)
    terms = method({"images": (images, torch.full_like(masks, 255))})
    assert terms["cost of mask"] == 0
    terms["loss"].backward()
    assert method.balances.grad[0] == 0 and method.balances.grad[1:].all()


def test_a_task_that_does_not_exist_or_has_one_class_is_refused():
    with pytest.raises(UsageError, match=r"dense_multitask has no task 'edge': did you mean edges"):
        make(tasks="mask,edge")
    images, masks = scenes(4)
    with pytest.raises(UsageError, match=r"The masks of 4 random images of scenes show fewer than two classes"):
        make().prepare(samples(images, torch.zeros_like(masks)))
    with pytest.raises(UsageError, match=r"dense_multitask has no tasks\. Name some of mask, edges, corners"):
        make(tasks=" ,")
    assert list(make(tasks="corners, mask,").tasks) == ["mask", "corners"]


def test_uncertainty_gives_a_squared_error_half_the_weight_of_a_cross_entropy():
    terms = prepared(balance="uncertainty")({"images": scenes(4)})
    assert [terms[f"weight of {task}"].item() for task in TASKS] == [1, 0.5, 0.5]


def test_pcgrad_works_on_all_weights_but_the_last_layer():
    method = prepared(balance="pcgrad", tasks="mask,edges")
    seen, (masks, edges) = method.hide({"images": scenes()})
    terms = method.loss(method.predict(seen), (masks, -10 * edges))  # conflicts with what masks need
    shared, last = method.shared(), list(method.head.layers[-1].parameters())
    assert {id(weight) for weight in (*shared, *last)} == {id(weight) for weight in method.parameters()}
    costs = [terms[f"cost of {task}"] / 2 for task in ("mask", "edges")]
    each = [torch.autograd.grad(cost, shared, retain_graph=True, materialize_grads=True) for cost in costs]
    first, second = (torch.cat([slope.flatten() for slope in slopes]) for slopes in each)
    along = first @ second
    assert along < 0
    expected = first - along / second.square().sum() * second + second - along / first.square().sum() * first
    found = torch.autograd.grad(terms["loss"], shared, retain_graph=True)
    torch.testing.assert_close(torch.cat([slope.flatten() for slope in found]), expected, rtol=1e-3, atol=1e-5)
    own, plain = (torch.autograd.grad(loss, last, retain_graph=True) for loss in (terms["loss"], sum(costs)))
    for one, other in zip(own, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_gradnorm_compares_gradients_in_the_last_shared_layer():
    method = prepared(balance="gradnorm")
    method.balances.data = torch.tensor([0.5, 0.3, 0.2])
    seen, withheld = method.hide({"images": scenes()})
    terms = method.loss(method.predict(seen), withheld)
    last = method.head.layers[2].weight
    assert last.shape[2:] == (3, 3)
    costs = [terms[f"cost of {task}"] for task in TASKS]
    lengths = [torch.autograd.grad(cost, last, retain_graph=True)[0].norm().item() for cost in costs]
    weighted = [weight * length for weight, length in zip((0.5, 0.3, 0.2), lengths, strict=True)]
    mean = sum(cost.item() for cost in costs) / 3
    goals = [sum(weighted) / 3 * (cost.item() / mean) ** 1.5 for cost in costs]
    expected = [math.copysign(n, w - goal) for n, w, goal in zip(lengths, weighted, goals, strict=True)]
    (slope,) = torch.autograd.grad(terms["loss"], method.balances)
    assert slope.tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "gradnorm", "pcgrad"])
def test_all_tasks_are_learned(balance):
    method = prepared(balance=balance)
    terms = overfit(method, {"images": scenes(4)}, seeds=range(25), lr=5e-3)
    for task in TASKS:
        assert terms[-1][f"cost of {task}"] < 0.85 * terms[0][f"cost of {task}"]


def test_a_person_gets_a_mask_and_a_picture_of_each_response_of_any_shape():
    method = prepared().eval()
    found = method.apply_to(torch.randint(0, 256, (3, 40, 90), dtype=torch.uint8))
    assert set(found) == {"mask", "overlay", "edges", "corners"}
    assert found["mask"].labels.shape == (40, 90)
    for name in ("edges", "corners"):
        assert found[name].pixels.shape == (1, 40, 90)
        assert found[name].pixels.min() >= 0 and found[name].pixels.max().item() == pytest.approx(1, abs=1e-5)
    image = scenes(1)[0][0]
    found = method.apply_to(image)
    scores, responses = method.predict(method.encoder.take(image))
    torch.testing.assert_close(found["mask"].labels, scores[0].argmax(0))
    for place, name in enumerate(("edges", "corners")):
        torch.testing.assert_close(found[name].pixels[0], method.responses.draw(responses)[0, place])


@pytest.mark.parametrize(("tasks", "files"), [("corners", {"corners"}), ("mask", {"mask", "overlay"})])
def test_a_person_gets_what_was_learned(tasks, files):
    method = prepared(tasks=tasks).eval()
    assert set(method.apply_to(torch.zeros(3, 32, 48, dtype=torch.uint8))) == files


def test_the_picture_shows_each_task():
    method = prepared()
    seen, withheld = method.hide({"images": scenes(4)})
    columns = method.picture(seen, withheld, method.predict(seen))
    assert list(columns) == ["seen", *(f"{who} {task}" for task in TASKS for who in ("true", "said"))]
    assert list(method.picture(seen, withheld)) == ["seen", *(f"true {task}" for task in TASKS)]
