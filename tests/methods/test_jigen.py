"""JiGen: images for the class loss and for the order loss, and the loss of an order."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets, views
from withhold.methods import build, find

NAMES = ("ant", "bee", "cat")


def make(size=32, channels=3, **values):
    torch.manual_seed(0)
    return build(find("jigen"), nets.build("convnet", size=size, channels=channels), values, {"classes": NAMES})


def batch(n=10, size=32, channels=3):
    return {"images": (random_images(n, 0, size, channels), torch.arange(n) % 3, torch.arange(n) % 2)}


def test_whole_images_teach_their_class_and_shuffled_ones_their_order():
    method = make(weight=0.3, shuffled=0.3)
    seen, (order, labels, domains) = method.hide(batch())
    assert seen.shape == (10, 3, 32, 32)
    assert len(order) == 3
    assert make(size=64).puzzle.out_features == 1 + 30
    assert torch.equal(labels, torch.arange(3, 10) % 3)
    named, laid = torch.randn(10, 3, requires_grad=True), torch.randn(10, 24, requires_grad=True)
    terms = method.loss((named, laid), (order, labels, domains))
    expected = sum(torch.logsumexp(named[3 + i], 0) - named[3 + i, labels[i]] for i in range(7)) / 7
    expected += 0.3 * sum(torch.logsumexp(laid[i], 0) - laid[i, order[i]] for i in range(3)) / 10
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    terms["loss"].backward()
    assert not named.grad[:3].any()
    assert not laid.grad[3:].any()
    nothing = method.loss((torch.zeros(10, 3), torch.zeros(10, 24)), (order, labels, domains))
    assert nothing["loss"].item() == pytest.approx(nothing["trivial"], rel=1e-5)


@pytest.mark.parametrize(("size", "grid"), [(29, 2), (64, 3)])
def test_an_order_says_from_which_cell_each_tile_is(size, grid):
    """Cells of one grey each, which a square of a cell has too."""
    method = make(size=size, channels=1)
    cell = size // grid
    greys = torch.arange(1, grid**2 + 1).float() / (grid**2 + 1)
    whole = greys.view(1, 1, grid, grid).repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    whole = F.pad(whole, (0, size % grid, 0, size % grid), mode="replicate").expand(len(method.orders), -1, -1, -1)
    laid = method.shuffle(whole, torch.arange(len(method.orders)))
    assert laid.shape == whole.shape
    for image, order in zip(laid, method.orders, strict=True):
        for place, (row, column) in enumerate(itertools.product(range(grid), repeat=2)):
            tile = image[0, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            torch.testing.assert_close(tile, greys[order[place]].expand_as(tile))


def test_edges_do_not_continue_from_tile_to_tile():
    """A column's place in its image tells nothing of where its tile was cut: even the identity breaks a ramp."""
    method = make()
    ramp = torch.linspace(0, 1, 32).expand(40, 3, 32, 32)
    laid = method.shuffle(ramp, torch.zeros(40, dtype=torch.int64))
    steps = (laid[:, 0, 0, 16] - laid[:, 0, 0, 15]).unique()
    assert len(steps) > 10
    assert steps.max() > 3 / 31
    colour = torch.rand(1, 3, 1, 1).expand(200, 3, 32, 32)
    grey = method.shuffle(colour, torch.zeros(200, dtype=torch.int64))[:, :, ::16, ::16].std(1) < 1e-4
    assert 0.05 < grey.float().mean() < 0.16


def test_with_no_weight_it_is_pooled_training():
    method = make(weight=0.0)
    method.seed(2)
    seen, (order, labels, domains) = method.hide(batch())
    method.seed(2)
    images = batch()["images"][0]
    jitter = (0.4, 0.4, 0.4, 0.1)
    torch.testing.assert_close(seen, views.augment(images, method.rng, size=32, crop=(0.8, 1.0), jitter=jitter))
    assert not len(order)
    terms = method.loss(method.predict(seen), (order, labels, domains))
    expected = F.cross_entropy(method.classify(seen), torch.arange(10) % 3)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_domain_that_is_named_worst_shows():
    method = make()
    named = F.one_hot(torch.tensor([0, 0, 1, 2, 2]), 3).float()
    withheld = torch.zeros(0, dtype=torch.int64), torch.tensor([0, 1, 1, 2, 0]), torch.tensor([0, 0, 3, 3, 3])
    terms = method.loss((named, torch.zeros(5, 24)), withheld)
    assert terms["worst_domain"].item() == 0.5
    assert terms["accuracy"].item() == pytest.approx(0.6)


def test_orders_are_learned():
    """Of one image, in one of two orders."""
    method = make(shuffled=0.9, orders=2, flip=0.0)
    images = smooth_images(1).expand(12, -1, -1, -1)
    terms = overfit(method, {"images": (images, torch.arange(12) % 3, torch.arange(12) % 2)}, seeds=range(25))
    assert sum(row["puzzle_accuracy"].item() for row in terms[-10:]) / 10 > 0.8


def test_the_picture_names_orders_and_classes():
    method = make(shuffled=0.5)
    seen, withheld = method.hide(batch(4))
    laid = F.one_hot(torch.tensor([3, 1, 0, 0]), 24).float()
    columns = method.picture(seen, withheld, (F.one_hot(torch.tensor([0, 0, 1, 2]), 3).float(), laid))
    assert columns["said"] == ["order 3", "order 1", "bee", "cat"]
    assert columns["true"] == [f"order {number}" for number in withheld[0].tolist()] + ["cat", "ant"]
