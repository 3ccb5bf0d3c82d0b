import math

import numpy as np
import pytest
import torch

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import data, nets, views
from withhold.methods.image.exemplar import Exemplar, edges
from withhold.training import prepare


def make(size=32, channels=3, **parameters):
    torch.manual_seed(0)
    return Exemplar(nets.build("convnet", size=size, channels=channels), **parameters)


def stream(images):
    return data.load(images.permute(0, 2, 3, 1).numpy())


def test_exemplars_are_some_of_the_images_and_each_is_a_class():
    method = make(exemplars=6)
    prepare(method, {"images": stream(random_images(20))}, 0)
    chosen = method.exemplar[method.exemplar >= 0]
    assert sorted(chosen.tolist()) == list(range(6))
    assert len(method.exemplar) == 20
    before = method.exemplar.clone()
    prepare(method, {"images": stream(random_images(20))}, 1)
    assert not torch.equal(method.exemplar, before)


def test_all_of_few_images_are_exemplars_and_no_score_is_spent_on_others():
    method = make(exemplars=50)
    images = smooth_images(8)
    prepare(method, {"images": stream(images)}, 0)
    assert sorted(method.exemplar.tolist()) == list(range(8))
    seen, withheld = method.hide({"images": (images, torch.arange(8))})
    terms = method.loss(method.predict(seen), withheld)
    assert terms["trivial"] == pytest.approx(math.log(8))


def test_flat_images_are_hardly_chosen():
    images = torch.cat([random_images(40), torch.full((120, 3, 32, 32), 90, dtype=torch.uint8)])
    images[40:, 0, 0, 0] = torch.arange(120)
    method = make(exemplars=40)
    prepare(method, {"images": stream(images)}, 0)
    assert (method.exemplar[:40] >= 0).sum() >= 38


def test_edges_are_squared_differences_of_neighbours():
    images = random_images(2, size=5)
    pixels = images.double() / 255
    for image, found in zip(pixels, edges(images), strict=True):
        down = [(image[c, y + 1, x] - image[c, y, x]) ** 2 for c in range(3) for y in range(4) for x in range(5)]
        right = [(image[c, y, x + 1] - image[c, y, x]) ** 2 for c in range(3) for y in range(5) for x in range(4)]
        assert found.item() == pytest.approx(sum(down).item() / 60 + sum(right).item() / 60, abs=3e-6)


def test_batches_hold_exemplars_alone_each_as_often():
    method = make(size=8, exemplars=10)
    samples = stream(random_images(60, size=8))
    prepare(method, {"images": samples}, 0)
    feeder = data.Feeder({"images": samples}, method.needs, 20, 0, orders=method.order, groups=method.get_buffer)
    drawn = torch.cat([feeder.batch(step)["images"][1] for step in range(3)])
    assert method.exemplar[drawn].bincount().tolist() == [6] * 10


def test_views_are_other_at_every_visit_and_their_colours_tell_little():
    """The nearest mean colour finds the right one of 64 photographs' worth of colours rarely; content stays."""
    method = make()
    images = smooth_images(64)
    prepare(method, {"images": stream(images)}, 0)
    seen, (exemplars, shown) = method.hide({"images": (images, torch.arange(64))})
    assert torch.equal(exemplars, method.exemplar)
    assert torch.equal(shown, views.to_float(images))
    other, _ = method.hide({"images": (images, torch.arange(64))})
    assert not torch.equal(seen, other)
    colours, true = seen.mean((2, 3)), shown.mean((2, 3))
    assert (torch.cdist(colours, true).argmin(1) == torch.arange(64)).float().mean() < 0.2


def test_loss_is_the_cross_entropy_of_the_exemplars():
    method = make(exemplars=4)
    method.exemplar.resize_(4)
    scores, exemplars = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    shares = [math.exp(row[k]) / sum(map(math.exp, row)) for row, k in zip(scores.tolist(), exemplars, strict=True)]
    terms = method.loss(scores, (exemplars, None))
    assert terms["loss"].item() == pytest.approx(-sum(map(math.log, shares)) / 6, rel=1e-5)
    assert method.loss(torch.zeros(6, 4), (exemplars, None))["loss"].item() == pytest.approx(terms["trivial"])


def test_exemplars_are_learned_by_heart_and_shown():
    method = make(exemplars=16)
    images = smooth_images(16)
    prepare(method, {"images": stream(images)}, 0)
    batch = {"images": (images, torch.arange(16))}
    terms = overfit(method, batch, seeds=[0] * 25)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]
    seen, withheld = method.hide(batch)
    columns = method.picture(seen, withheld, 100.0 * torch.eye(16)[withheld[0]])
    assert np.array_equal(columns["said"], columns["true"])


def test_views_are_crops_that_are_turned(monkeypatch):
    asked = []
    plain = views.to_float

    def augment(images, rng, **options):
        asked.append(options)
        return plain(images)

    method = make()
    method.exemplar.resize_(8).copy_(torch.arange(8))
    monkeypatch.setattr(views, "augment", augment)
    seen, _ = method.withhold(images=(torch.full((8, 3, 32, 32), 255, dtype=torch.uint8), torch.arange(8)))
    assert asked[0]["crop"] == (0.3, 1.0)
    assert (seen[:, :, 0, 0] < 0.9).any() and (seen[:, :, 16, 16] > 0.99).all()  # corners come from outside
