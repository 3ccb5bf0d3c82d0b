"""Multitask: the loss of each column, the balance of tasks, and the predictions."""

import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, tinted_images
from withhold import losses, nets
from withhold.data.samples import Samples
from withhold.data.targets import Target
from withhold.errors import UsageError
from withhold.methods import answers, build, find
from withhold.runs.build import tell
from withhold.runs.saying import say

TARGETS = {"colour": ("red", "green", "blue"), "size": None}


def make(**values):
    torch.manual_seed(0)
    return build(find("multitask"), nets.build("convnet", size=16, channels=3), values, {"targets": TARGETS})


def batch(per_class=4):
    images, colours = tinted_images(per_class)
    return {"items": (images, {"colour": colours, "size": 100 + 10 * colours.float()})}


def prepared(**values):
    method, (images, targets) = make(**values), batch()["items"]
    samples = Samples(images.permute(0, 2, 3, 1).numpy(), torch.arange(12).numpy().astype(str))
    samples.give("targets", {"colour": Target(targets["colour"].numpy(), TARGETS["colour"]),
                             "size": Target(targets["size"].numpy())})  # fmt: skip
    method.prepare(samples)
    return method


def slopes(method, loss):
    found = torch.autograd.grad(loss, list(method.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros(0) if slope is None else slope.flatten() for slope in found]


def test_a_cost_of_one_is_what_knowing_nothing_costs():
    method = prepared()
    _, withheld = method.hide(batch())
    nothing = [torch.zeros(12, 3), torch.zeros(12, 1)]
    terms = method.loss(nothing, withheld)
    assert terms["cost of colour"].item() == pytest.approx(1)  # as often each
    assert terms["cost of size"].item() == pytest.approx(1)
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item()) == pytest.approx(1)
    assert terms["error of size"].item() == pytest.approx(20 / 3)  # 10, 0 and 10, in its own units
    said = [torch.randn(12, 3), torch.randn(12, 1)]
    numbers = (torch.arange(3).repeat(4) - 1) / math.sqrt(2 / 3)
    expected = F.cross_entropy(said[0], withheld[0]) / math.log(3) / 2 + (said[1][:, 0] - numbers).square().mean() / 2
    assert method.loss(said, withheld)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_missing_costs_nothing():
    method = prepared()
    said = [torch.randn(4, 3, requires_grad=True), torch.randn(4, 1, requires_grad=True)]
    terms = method.loss(said, [torch.tensor([0, -1, 2, -1]), torch.tensor([math.nan, 0.3, math.nan, -1.0])])
    terms["loss"].backward()
    assert said[0].grad.any(1).tolist() == [True, False, True, False]
    assert said[1].grad[:, 0].bool().tolist() == [False, True, False, True]
    alone = method.loss(said, [torch.full((4,), -1), torch.full((4,), math.nan)])
    assert alone["loss"].item() == 0


def test_a_column_with_one_value_is_refused():
    method = make()
    samples = Samples(torch.zeros(4, 16, 16, 3, dtype=torch.uint8).numpy(), torch.arange(4).numpy().astype(str))
    same = {"colour": Target(torch.zeros(4, dtype=torch.int64).numpy(), TARGETS["colour"]),
            "size": Target(torch.arange(4.0).numpy())}  # fmt: skip
    samples.give("targets", same)
    with pytest.raises(
        UsageError, match=r"The column colour has at most one value, so it cannot be learned\. Leave it"
    ):
        method.prepare(samples)


def columned():
    """Items with a class, a number, a name each, and a file for every two."""
    samples = Samples(torch.zeros(12, 16, 16, 3, dtype=torch.uint8).numpy(), torch.arange(12).numpy().astype(str))
    colour = torch.arange(12).numpy() % 3
    colour[:2] = -1
    light = torch.arange(12.0).numpy()
    light[5] = math.nan
    samples.give("targets", {
        "colour": Target(colour, TARGETS["colour"]), "light": Target(light),
        "serial": Target(torch.arange(12).numpy(), tuple(f"no {k}" for k in range(12))),
        "scene": Target(torch.arange(12).numpy() // 2, tuple(f"{k}.png" for k in range(6))),
    })  # fmt: skip
    return samples


def test_columns_that_name_items_are_left_out_and_all_are_said(caplog):
    cls, streams = find("multitask"), {"items": columned()}
    told = tell(cls, streams, {"columns": None})
    assert told["targets"] == {"colour": ["red", "green", "blue"], "light": None}
    assert tell(cls, streams, {"columns": "scene,light"})["targets"].keys() == {"scene", "light"}
    with pytest.raises(UsageError, match=r"has no column 'lite' to predict: did you mean light"):
        tell(cls, streams, {"columns": "lite"})
    config = told | {
        "parameters": {"columns": None},
        "method": "multitask", "encoder": {"name": "convnet"}, "decoding": {"size": 16, "channels": 3},
        "training": {"batch_size": 4, "minutes": 1, "steps": None, "precision": "32", "seed": 0},
    }  # fmt: skip
    with caplog.at_level("INFO"):
        say(config, streams, "cpu")
    assert "column colour: 3 classes, the rarest first: red 3, green 3, blue 4; 2 empty cells" in caplog.text
    assert "column light: numbers; 1 empty cell" in caplog.text
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert warning.startswith("columns left out because they name items or files: serial, scene")
    assert "columns=A,B" in warning
    named = {"items": columned()}
    del named["items"].parts["targets"]["colour"], named["items"].parts["targets"]["light"]
    with pytest.raises(
        UsageError, match=r"Every column .* only identifies its items \(serial, scene\).*columns=serial"
    ):
        tell(cls, named, {"columns": None})


def test_uncertainty_weighs_as_kendall_does():
    method = prepared(balance="uncertainty")
    method.balances.data = torch.tensor([0.4, -0.7])
    costs = torch.tensor([0.9, 2.0])
    loss, _ = method.balanced(costs, torch.tensor([True, True]))
    expected = math.exp(-0.4) * 0.9 + 0.2 + 0.5 * math.exp(0.7) * 2.0 - 0.35
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, method.balances)
    assert slope.tolist() == pytest.approx([0.5 - math.exp(-0.4) * 0.9, 0.5 - math.exp(0.7)], rel=1e-4)


def test_gradnorm_moves_weights_towards_equal_gradients_and_the_encoder_by_weighted_costs():
    method = prepared(balance="gradnorm", alpha=0.5)
    method.balances.data = torch.tensor([0.8, 0.2])
    seen, withheld = method.hide(batch())
    terms = method.loss(method.predict(seen), withheld)
    costs = terms["cost of colour"], terms["cost of size"]
    assert terms["loss"].item() == pytest.approx((0.8 * costs[0] + 0.2 * costs[1]).item(), rel=1e-5)
    last = [weight for weight in method.encoder.parameters() if weight.ndim > 1][-1]
    lengths = [torch.autograd.grad(cost, last, retain_graph=True)[0].norm().item() for cost in costs]
    weighted = [0.8 * lengths[0], 0.2 * lengths[1]]
    mean = sum(cost.item() for cost in costs) / 2
    goals = [sum(weighted) / 2 * (cost.item() / mean) ** 0.5 for cost in costs]
    expected = [math.copysign(size, w - goal) for size, w, goal in zip(lengths, weighted, goals, strict=True)]
    (slope,) = torch.autograd.grad(terms["loss"], method.balances, retain_graph=True)
    assert slope.tolist() == pytest.approx(expected, rel=1e-4)
    (plain,) = torch.autograd.grad(0.8 * costs[0] + 0.2 * costs[1], last, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(terms["loss"], last)[0], plain)
    method.balances.data = torch.tensor([-0.1, 3.0])
    method.after_step()
    assert method.balances.sum().item() == pytest.approx(1)
    assert method.balances.min() > 0


@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm"])
def test_a_batch_that_knows_nothing_of_a_task_balances_the_others_alone(balance):
    """As if there were no such task, whose own balance stays, whatever the optimiser remembers."""
    torch.manual_seed(0)
    columns = dict.fromkeys(("a", "b", "c"))
    method = build(find("multitask"), nets.build("convnet", size=16, channels=3), {"balance": balance},
                   {"targets": columns})  # fmt: skip
    method.balances.data = torch.tensor([0.5, 0.3, 0.2])
    optimizer = torch.optim.SGD([method.balances], 0.1, momentum=0.9)
    images, known = batch()["items"][0], {name: torch.randn(12) for name in columns}

    def slope(targets):
        optimizer.zero_grad()
        terms = method({"items": (images, targets)})
        terms["loss"].backward(retain_graph=True)
        return terms, method.balances.grad.clone()

    complete, _ = slope(known)
    optimizer.step()
    method.after_step()
    before = method.balances.detach().clone()
    terms, found = slope(known | {"c": torch.full((12,), math.nan)})
    costs = torch.stack([terms[f"cost of {name}"].detach() for name in "ab"])
    weights = torch.stack([terms[f"weight of {name}"] for name in "ab"])
    assert found[2] == 0
    if balance == "uncertainty":
        torch.testing.assert_close(found[:2], 0.5 - weights * costs)
    else:
        last = [weight for weight in method.encoder.parameters() if weight.ndim > 1][-1]
        each = [torch.autograd.grad(complete[f"cost of {name}"], last, retain_graph=True)[0].norm() for name in "ab"]
        weighted = weights * torch.stack(each)
        goals = weighted.mean() * (costs / costs.mean()) ** 1.5
        torch.testing.assert_close(found[:2], torch.stack(each) * (weighted - goals).sign())
    gap = (terms["trivial"] - terms["loss"]).item()
    assert gap == pytest.approx((weights * (1 - costs)).sum().item(), abs=1e-5)
    optimizer.step()
    method.after_step()
    assert method.balances[2] == before[2] and not torch.equal(method.balances[:2], before[:2])
    if balance == "gradnorm":
        assert method.balances.sum().item() == pytest.approx(1)


def test_a_task_that_was_certain_is_doubted_again():
    """A variance at the end of its range comes back as soon as the cost asks for it."""
    method = prepared(balance="uncertainty")
    optimizer, present = torch.optim.SGD([method.balances], 0.1), torch.tensor([True, True])
    for cost, steps in ((0.0, 150), (1.0, 150)):
        for _ in range(steps):
            optimizer.zero_grad()
            method.balanced(torch.full((2,), cost), present)[0].backward()
            optimizer.step()
            method.after_step()
        if not cost:
            assert method.balances.tolist() == [-5, -5]
    assert method.balances.detach().exp().tolist() == pytest.approx([2, 1], rel=0.1)  # what the costs say


def test_gradients_lose_what_conflicts_and_nothing_else():
    rng = torch.Generator().manual_seed(0)
    together = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(losses.without_conflicts(together, rng), torch.tensor([2.0, 1.0]))
    against = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])  # projected: (0.5, 0.5) and (0, 1)
    torch.testing.assert_close(losses.without_conflicts(against, rng), torch.tensor([0.5, 1.5]))


def test_pcgrad_changes_the_encoders_gradient_alone():
    method = prepared(balance="pcgrad")
    seen, withheld = method.hide(batch())
    withheld[1] = -withheld[1] * 10  # what is learned of one is against the other
    terms = method.loss(method.predict(seen), withheld)
    each = [slopes(method, terms[f"cost of {column}"] / 2) for column in TARGETS]
    count = len(list(method.encoder.parameters()))
    first, second = (torch.cat(part[:count]) for part in each)
    along = (first @ second).clamp(max=0)
    expected = first - along / second.square().sum() * second + second - along / first.square().sum() * first
    found = slopes(method, terms["loss"])
    torch.testing.assert_close(torch.cat(found[:count]), expected, rtol=1e-3, atol=1e-5)
    heads = list(method.heads.parameters())
    own = torch.autograd.grad(sum(terms[f"cost of {column}"] for column in TARGETS) / 2, heads)
    torch.testing.assert_close(torch.cat(found[count:]), torch.cat([slope.flatten() for slope in own]))
    assert terms["loss"].item() == pytest.approx(sum(terms[f"cost of {column}"].item() for column in TARGETS) / 2)


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "gradnorm", "pcgrad"])
def test_both_columns_are_learned_and_answered_in_their_units(balance):
    method = prepared(balance=balance)
    overfit(method, batch(), seeds=range(25), lr=3e-3)
    images, targets = batch()["items"]
    said = method.says()["targets"](images.float() / 255)  # by the batch's own statistics
    assert (said[:, 0] == targets["colour"]).float().mean() > 0.9
    assert (said[:, 1] - targets["size"]).abs().mean() < 4
    found = method.apply_to(images[0])
    assert isinstance(found["colour"], answers.Class)
    assert set(found["colour"].shares) == set(TARGETS["colour"])
    assert 60 < float(found["size"]) < 160


def test_the_picture_shows_what_is_true_and_said():
    method = prepared()
    seen, withheld = method.hide(batch(1))
    columns = method.picture(seen, withheld, [F.one_hot(torch.tensor([1, 1, 0]), 3).float(), torch.zeros(3, 1)])
    assert columns["true colour"] == ["red", "green", "blue"]
    assert columns["said colour"] == ["green", "green", "red"]
    assert columns["true size"] == ["100", "110", "120"]
    assert columns["said size"] == ["110"] * 3


def test_gradnorm_has_an_answer_when_every_task_costs_nothing():
    method = prepared(balance="gradnorm")
    seen, withheld = method.hide(batch())
    said = [100 * F.one_hot(withheld[0], 3).float(), withheld[1][:, None]]
    features = method.encoder(seen).sum()
    terms = method.loss([each + 0 * features for each in said], withheld)
    assert terms["loss"] == 0
    terms["loss"].backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in method.parameters())


@pytest.mark.parametrize("balance", ["gradnorm", "pcgrad"])
def test_weights_that_are_fixed_or_unused_leave_the_balance_alone(balance):
    """Of an encoder whose first weights are fixed, and whose last ones only a pretraining used."""
    expected = prepared(balance=balance)
    method = prepared(balance=balance)
    method.encoder.unused = torch.nn.Linear(3, 3)
    next(method.encoder.parameters()).requires_grad_(False)
    torch.testing.assert_close(method(batch())["loss"], expected(batch())["loss"])
    method(batch())["loss"].backward()
    assert method.encoder.unused.weight.grad is None or not method.encoder.unused.weight.grad.any()
