"""Co-occurrence: sampled pairs, the meaning of their scores, and shortcuts that are excluded."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.methods.toys import overfit, random_images, smooth_images
from withhold import nets, views
from withhold.methods import build, find
from withhold.methods.image import cooccurrence


def make(size=32, channels=3, encoder="convnet", **values):
    torch.manual_seed(0)
    return build(find("cooccurrence"), nets.build(encoder, size=size, channels=channels), values)


@pytest.mark.parametrize("grid", [2, 3])
def test_neighbours_are_asked_for_in_one_image_and_across_two(grid):
    method = make(grid=grid)
    others = views.partners(5, torch.Generator().manual_seed(0))
    number = 100 * torch.arange(5)[:, None] + torch.arange(grid**2)
    asked = list(zip(*(part.tolist() for part in method.pairs(number, others)), strict=True))
    cells = [(row, column) for row in range(grid) for column in range(grid)]
    touching = {
        (a, b) for a, (y, x) in enumerate(cells) for b, (v, u) in enumerate(cells) if (v - y, u - x) in ((0, 1), (1, 0))
    }
    half = len(asked) // 2
    assert sorted(asked[:half]) == sorted((100 * i + a, 100 * i + b) for i in range(5) for a, b in touching)
    for (first, second), (again, other) in zip(asked[:half], asked[half:], strict=True):
        assert again == first
        assert (other - second) % 100 == 0 != other - second
    _, together = method.hide({"images": random_images(5)})
    assert together.tolist() == [True] * half + [False] * half


def test_the_score_of_least_loss_is_the_pointwise_mutual_information():
    """Of two sorts of patches that occur together so often, in pairs as often as drawn independently of each other."""
    method = make()
    often = torch.tensor([[5.0, 1.0], [2.0, 8.0]])
    total, apart = often.sum(), torch.outer(often.sum(1), often.sum(0))
    scores = (often * total / apart).log().requires_grad_()
    repeats = torch.cat([(often * total).flatten(), apart.flatten()]).long()
    pairs = torch.arange(4).repeat(2).repeat_interleave(repeats)
    together = (torch.arange(8) < 4).repeat_interleave(repeats)
    assert together.float().mean() == 0.5
    method.loss(scores.flatten()[pairs], together)["loss"].backward()
    assert scores.grad.abs().max() < 1e-6


def test_the_loss_is_the_logistic_one():
    scores, together = torch.randn(10), torch.arange(10) < 5
    shares = [1 / (1 + math.exp(-score)) for score in scores.tolist()]
    expected = -sum(map(math.log, shares[:5])) - sum(math.log(1 - share) for share in shares[5:])
    terms = make().loss(scores, together)
    assert terms["loss"].item() == pytest.approx(expected / 10, rel=1e-5)
    assert terms["accuracy"].item() == pytest.approx(
        sum((s > 0.5) == t for s, t in zip(shares, together, strict=True)) / 10
    )
    assert make().loss(torch.zeros(10), together)["loss"].item() == pytest.approx(terms["trivial"])


def test_a_pair_is_judged_alike_in_either_order():
    method = make().eval()
    first, second = torch.randn(2, 6, 256)
    assert torch.allclose(method.judge(first, second), method.judge(second, first), atol=1e-6)
    assert method.judge(first, second).std() > 1e-3


def told_by_colour(patches, method):
    """How well the mean colours of two patches tell whether they are of one image: the area under the curve."""
    others = torch.arange(len(patches)).roll(1)
    first, second = method.pairs(patches.mean((3, 4)), others)
    return roc_auc_score(torch.arange(len(first)) < len(first) // 2, -(first - second).norm(dim=1))


def test_brightness_and_tint_of_an_image_are_kept_from_its_patches():
    tints = torch.rand(60, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    images = (random_images(60) * (0.3 + 0.7 * tints)).byte()
    method = make(grey=0.5)
    (patches, _), _ = method.hide({"images": images})
    plain = views.tiles(images / 255, torch.Generator().manual_seed(0), 2, method.tile)
    assert told_by_colour(plain, method) > 0.95
    assert told_by_colour(patches, method) < 0.72
    assert torch.allclose(patches.mean((2, 3, 4)), torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(patches.std((2, 3, 4), correction=0), torch.tensor(0.25), atol=1e-2)


def test_patches_keep_the_scale_of_their_image(monkeypatch):
    """How strongly an image is scaled would show in the sharpness of all its patches."""
    monkeypatch.setattr(cooccurrence, "JITTER", None)
    method = make(grey=0.0)
    images = random_images(4)
    (patches, _), _ = method.hide({"images": images})
    for image, parts in zip(images, patches, strict=True):
        squares = torch.cat(
            [
                whole.unfold(1, 12, 1).unfold(2, 12, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
                for whole in (image, image.flip(2))
            ]
        )
        cut = views.standardize(squares / 255)
        for part in parts:
            assert (cut - part).abs().amax((1, 2, 3)).min() < 1e-4


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(), smooth_images(16), seeds=[0] * 12)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


def test_groups_are_what_goes_together():
    """With an encoder that knows the mean colour alone, and a judge that compares it: four squares of four colours."""
    method = make().eval()
    squares = torch.tensor([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [240, 240, 10]]], dtype=torch.uint8)
    image = squares.permute(2, 0, 1).repeat_interleave(16, 1).repeat_interleave(16, 2)
    method.encoder.forward = lambda patches: patches.mean((2, 3))
    method.judge = lambda first, second: 4 - 40 * (first - second).norm(dim=1)
    with torch.inference_mode():
        shown = method.apply_to(image)
    labels, palette = shown["groups"].labels, torch.tensor(shown["groups"].palette).view(-1, 3)
    assert torch.allclose(shown["seen"].pixels, image / 255)
    assert labels.shape == (32, 32)
    for y in (0, 1):
        for x in (0, 1):
            middle = labels[16 * y + 4 : 16 * y + 12, 16 * x + 4 : 16 * x + 12]
            assert (middle == middle[0, 0]).all()
            apart = (palette[middle[0, 0]] - squares.flatten(0, 1)).abs().sum(1)
            assert apart.argmin() == 2 * y + x
    assert labels.unique().tolist() == [1, 2, 3, 4]


def test_the_picture_shows_a_pair_of_each_sort_for_every_image():
    method = make()
    visible, together = method.hide({"images": smooth_images(3)})
    columns = method.picture(visible, together, torch.where(together, 9.0, -9.0))
    patches, others = visible
    assert columns["true"] == ["together"] * 3 + ["apart"] * 3
    assert columns["said"] == ["together 100%"] * 3 + ["together 0%"] * 3
    for row in range(6):
        second = patches[row % 3 if row < 3 else others[row % 3], 1].clamp(0, 1)
        assert torch.equal(columns["seen"][row, :, 1:13, 1:13], patches[row % 3, 0].clamp(0, 1))
        assert torch.equal(columns["seen"][row, :, 1:13, 15:27], second)


@pytest.mark.parametrize(("size", "grid", "tile"), [(28, 2, 11), (32, 2, 12), (96, 3, 25)])
def test_it_fits_sizes(size, grid, tile):
    method = make(size=size, channels=1)
    assert (method.grid, method.tile) == (grid, tile)
    assert torch.isfinite(method({"images": smooth_images(3, size, 1)})["loss"])


def test_an_encoder_that_is_too_small_is_refused():
    with pytest.raises(
        ValueError, match=r"An encoder of 16 pixels is too small for 3 x 3 tiles\. Give --size 24 or more"
    ):
        make_with(16, grid=3)
    with pytest.raises(ValueError, match="grey must be at least 0 and at most 1"):
        make_with(32, grey=1.5)


def make_with(size, **values):
    return find("cooccurrence")(nets.build("convnet", size=size, channels=3), **values)
