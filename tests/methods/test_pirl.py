import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, random_images, smooth_images, told_by_colour
from withhold import data, nets, views
from withhold.methods.image.pirl import PIRL
from withhold.training import prepare


def make(count=20, size=32, channels=3, **parameters):
    torch.manual_seed(0)
    method = PIRL(nets.build("convnet", size=size, channels=channels), **parameters)
    prepare(method, {"images": data.load(random_images(count, size=8).permute(0, 2, 3, 1).numpy())}, 0)
    return method


def hide(method, images, numbers=None):
    return method.hide({"images": (images, torch.arange(len(images)) if numbers is None else numbers)})


def test_the_memory_starts_with_what_the_network_makes_of_each_image():
    """So each image is nearest to its own memory from the start, and to those of images that look like it."""
    method, images = make(count=2), smooth_images(20)
    prepare(method, {"images": data.load(images.permute(0, 2, 3, 1).numpy(), size=32)}, 0)
    method.eval()
    with torch.no_grad():
        embedded = method.whole(method.encoder(views.to_float(images)))
    assert torch.allclose(method.memory.features, F.normalize(embedded, dim=1), atol=1e-4)
    assert torch.equal(method.similarities(embedded, torch.arange(20)).argmax(1), torch.arange(20))


def test_tiles_come_in_every_order(monkeypatch):
    method = make()
    monkeypatch.setattr(views, "augment", lambda images, rng, **options: views.to_float(images))
    quarters = torch.tensor([[0, 80], [160, 240]], dtype=torch.uint8).repeat_interleave(16, 0).repeat_interleave(16, 1)
    (_, tiles), _ = hide(method, quarters.expand(20, 3, 32, 32))
    assert tiles.shape == (20, 4, 3, 12, 12)
    values = (tiles * 255).round().flatten(2)
    assert (values == values[:, :, :1]).all()  # each is from one quarter
    orders = values[:, :, 0].int()
    assert torch.equal(orders.sort(1).values, torch.tensor([0, 80, 160, 240]).int().expand(20, 4))
    assert len({tuple(order) for order in orders.tolist()}) > 8


@pytest.mark.parametrize(("negatives", "others"), [(4096, 15), (6, 6)])
def test_no_memory_is_told_from_twice_and_none_of_the_batch_is_a_random_one(negatives, others):
    numbers = torch.tensor([7, 3, 19, 0, 11])
    _, told = hide(make(negatives=negatives), smooth_images(5), numbers)
    assert torch.equal(told[:5], numbers)
    assert len(told) == len(told.unique()) == 5 + others


def test_a_whole_batch_of_all_images_still_has_something_to_tell_apart():
    method = make(count=4)
    visible, told = hide(method, smooth_images(4))
    assert method.loss(method.predict(visible), told)["trivial"] == pytest.approx(math.log(4))


def test_loss_is_the_papers_with_a_softmax_written_out():
    method = make(projection=3, temperature=0.2, weight=0.3)
    memory, told = method.memory.features.double(), torch.tensor([5, 2, 9, 11, 0])
    whole, pile = torch.randn(2, 3), torch.randn(2, 3)

    def surprise(vector, number):
        unit = [x / math.sqrt(sum(y * y for y in vector)) for x in vector]
        scores = {
            k: math.exp(sum(a * b for a, b in zip(unit, memory[k].tolist(), strict=True)) / 0.2) for k in told.tolist()
        }
        return -math.log(scores[number] / sum(scores.values()))

    of_whole, of_pile = (
        sum(surprise(row, number) for row, number in zip(each.tolist(), (5, 2), strict=True)) / 2
        for each in (whole, pile)
    )
    terms = method.loss((whole, pile), told)
    assert terms["whole"].item() == pytest.approx(of_whole, rel=1e-5)
    assert terms["tiles"].item() == pytest.approx(of_pile, rel=1e-5)
    assert terms["loss"].item() == pytest.approx(0.3 * of_pile + 0.7 * of_whole, rel=1e-5)
    assert terms["trivial"] == pytest.approx(math.log(5))


def test_the_memory_follows_the_whole_images_alone_and_after_the_step():
    method = make(momentum=0.75)
    before = method.memory.features.clone()
    visible, told = hide(method, smooth_images(3), torch.tensor([4, 1, 8]))
    whole, pile = method.predict(visible)
    method.loss((whole, pile), told)["loss"].backward()
    assert torch.equal(method.memory.features, before)
    assert not method.memory.features.requires_grad
    method.after_step()
    moved = F.normalize(0.75 * before[[4, 1, 8]] + 0.25 * F.normalize(whole.detach(), dim=1), dim=1)
    assert torch.allclose(method.memory.features[[4, 1, 8]], moved, atol=1e-6)
    others = [k for k in range(20) if k not in (4, 1, 8)]
    assert torch.equal(method.memory.features[others], before[others])


def test_what_is_only_looked_at_is_not_remembered():
    method = make().eval()
    visible, told = hide(method, smooth_images(3))
    method.loss(method.predict(visible), told)
    assert not method.fresh


def test_tiles_are_embedded_one_by_one():
    method = make().eval()
    (whole, tiles), _ = hide(method, smooth_images(3))
    with torch.no_grad():
        parts = torch.cat([method.part(method.encoder(tiles[1, [place]])) for place in range(4)], 1)
        assert torch.allclose(method.predict((whole, tiles))[1][1], method.pile(parts)[0], atol=1e-5)


def test_images_are_learned_by_heart_and_tiles_find_theirs():
    images = smooth_images(16)
    method = make(count=16, projection=32)
    terms = overfit(method, {"images": (images, torch.arange(16))}, seeds=[0] * 40)[-1]
    assert terms["tiles"] < 0.6 * terms["trivial"]
    visible, told = hide(method, images)
    memory = method.memory.features[told[:16]]
    columns = method.picture(visible, told, (memory, memory))
    assert torch.equal(columns["said"], columns["true"])
    assert columns["seen"].shape == (16, 3, 28, 28)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"grid": 4}, "grid must be one of 2, 3, not 4"),
        ({"negatives": 0}, "negatives must be at least 1, not 0"),
        ({"size": 16, "grid": 3}, "An encoder of 16 pixels is too small for 3 x 3 tiles. Give --size 24 or more"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**wrong)


def test_colours_and_the_whole_image_find_no_memory():
    images = smooth_images(64)
    method = make(64)
    (whole, tiles), _ = hide(method, images)
    (again, _), _ = hide(method, images)
    assert not torch.equal(whole, again)
    assert (whole != images / 255).flatten(1).any(1).all()
    for seen in (whole, tiles.mean(1)):
        grey = (seen.amax(1) - seen.amin(1)).amax((1, 2)) < 1e-3
        assert 1 <= grey.sum() <= 32
        assert told_by_colour(images / 255, seen) < 0.5
