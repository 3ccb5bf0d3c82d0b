import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, smooth_images
from withhold import nets, views
from withhold.methods.image.jigsaw import Jigsaw


def make(size=32, channels=3, encoder="convnet", **parameters):
    torch.manual_seed(0)
    return Jigsaw(nets.build(encoder, size=size, channels=channels), **parameters)


def test_an_order_names_the_cell_that_each_tile_comes_from(monkeypatch):
    method = make()
    monkeypatch.setattr(views, "augment", lambda images, rng, **options: views.to_float(images))
    colours = torch.tensor([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]], dtype=torch.uint8)
    images = colours.T.reshape(1, 3, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3).expand(200, 3, 32, 32)
    (tiles, puzzles), order = method.hide({"images": images})
    assert tiles.shape == (200, 4, 3, 12, 12)
    bright = tiles.mean((3, 4)) > 0.5
    for i in range(200):
        cells = torch.tensor([(colours > 100).tolist().index(tile) for tile in bright[i].tolist()])
        for puzzle, o in zip(puzzles[i], order.view(200, -1)[i], strict=True):
            assert torch.equal(cells[puzzle], method.orders[o])
    assert order.unique().numel() == 24
    first = bright[:, 0].float().mean(0)  # the tiles themselves come in no order
    assert torch.allclose(first, torch.tensor([0.5, 0.5, 0.25]), atol=0.12)


def test_brightness_and_contrast_of_a_tile_tell_nothing():
    (tiles, _), _ = make().hide({"images": smooth_images(8)})
    assert torch.allclose(tiles.mean((2, 3, 4)), torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(tiles.std((2, 3, 4), correction=0), torch.tensor(0.25), atol=1e-3)


def test_tiles_are_judged_one_by_one():
    """In eval mode only a puzzle's layout counts: not the order in which tiles are listed, nor other puzzles."""
    method = make().eval()
    (tiles, puzzles), _ = method.hide({"images": smooth_images(3)})
    with torch.no_grad():
        scores = method.predict((tiles, puzzles))
        listed_backwards = method.predict((tiles.flip(1), 3 - puzzles))
        alone = method.head(method.encoder(tiles[2, puzzles[2, 1]]).flatten()[None])
        other = method.predict((tiles, puzzles.flip(2)))
    assert torch.allclose(scores, listed_backwards, atol=1e-5)
    assert torch.allclose(scores.view(3, -1, 24)[2, 1], alone[0], atol=1e-5)
    assert not torch.allclose(scores, other, atol=1e-3)


def test_loss_is_the_cross_entropy_of_the_orders():
    method = make()
    order = torch.tensor([3, 20, 7])
    scores = torch.randn(3, 24)
    expected = sum(torch.logsumexp(row, 0) - row[o] for row, o in zip(scores, order, strict=True)) / 3
    assert method.loss(scores, order)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    alike = method.loss(torch.zeros(3, 24), order)
    assert alike["loss"].item() == pytest.approx(alike["trivial"])
    assert method.loss(F.one_hot(order, 24).float(), order)["accuracy"] == 1


def test_the_picture_puts_the_tiles_back():
    method = make(size=64, orders=5)
    (tiles, puzzles), order = method.hide({"images": smooth_images(4, 64)})
    columns = method.picture((tiles, puzzles), order, F.one_hot(order, 5).float())
    side = method.tile + 2
    assert columns["seen"].shape == (4, 3, 3 * side, 3 * side)
    assert torch.equal(columns["true"], columns["said"])
    cell = int(method.orders[order.view(4, -1)[2, 0]][5])  # where the tile in place 5 belongs
    inner = columns["true"][2, :, cell // 3 * side + 1 :, cell % 3 * side + 1 :][:, : method.tile, : method.tile]
    assert torch.equal(inner, tiles[2, puzzles[2, 0, 5]].clamp(0, 1))


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(), smooth_images(16), seeds=[0] * 12)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


@pytest.mark.parametrize(("size", "encoder", "tile"), [(28, "convnet", 11), (32, "vit-tiny", 12), (96, "resnet18", 25)])
def test_it_fits_sizes_and_encoders(size, encoder, tile):
    method = make(size=size, encoder=encoder, channels=1, orders=5)
    assert method.tile == tile
    assert torch.isfinite(method({"images": smooth_images(3, size, 1)})["loss"])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"grid": 4}, "grid must be one of 2, 3, not 4"),
        ({"orders": 1}, "orders must be at least 2, not 1"),
        ({"grey": 2.0}, "grey must be at least 0 and at most 1, not 2.0"),
        ({"size": 16, "grid": 3}, "An encoder of 16 pixels is too small for 3 x 3 tiles. Give --size 24 or more"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**wrong)
