import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toys import overfit, smooth_images
from withhold import nets
from withhold.methods.image.relative_position import RelativePosition
from withhold.views import SIDES, neighbours


def make(size=32, channels=3, encoder="convnet", grid=3, **parameters):
    torch.manual_seed(0)
    return RelativePosition(nets.build(encoder, size=size, channels=channels), grid, **parameters)


@pytest.mark.parametrize(("grid", "count"), [(2, 12), (3, 40)])
def test_every_ordered_pair_of_touching_cells_is_asked_once(grid, count):
    pairs = {(first, second): side for first, second, side in neighbours(grid).tolist()}
    assert len(neighbours(grid)) == len(pairs) == count
    for first in range(grid**2):
        for second in range(grid**2):
            down, right = second // grid - first // grid, second % grid - first % grid
            if first != second and max(abs(down), abs(right)) == 1:
                assert SIDES[pairs[first, second]] == (down, right)
            else:
                assert (first, second) not in pairs
    assert set(pairs.values()) == set(range(8))


def test_a_side_is_not_a_place():
    """Who knows only which cell the second patch comes from guesses right in one of three or four questions at best."""
    for grid, share in ((2, 1 / 3), (3, 0.25)):
        counts = torch.zeros(grid**2, 8)
        for _, second, side in neighbours(grid).tolist():
            counts[second, side] += 1
        assert (counts.max(1).values.sum() / counts.sum()).item() < share + 0.01


def test_patches_come_from_their_cells():
    """Brightness grows to the right and down, so patches cut from the right places are ordered, and share a slope."""
    images = (torch.arange(36.0)[:, None] * 3 + torch.arange(36.0) * 3).byte().expand(4, 3, 36, 36)
    method = make(size=36, color="keep")
    patches, sides = method.hide({"images": images})
    assert patches.shape == (4, 9, 3, 9, 9)
    assert sides.shape == (160,)
    assert torch.equal(sides.view(4, 40)[2], neighbours(3)[:, 2])
    assert (patches.diff(dim=3) > 0).all()


def test_brightness_and_contrast_of_a_patch_tell_nothing():
    for color in ("drop", "project", "keep"):
        patches, _ = make(color=color).hide({"images": smooth_images(8)})
        assert torch.allclose(patches.mean((2, 3, 4)), torch.tensor(0.5), atol=1e-4)
        assert torch.allclose(patches.std((2, 3, 4), correction=0), torch.tensor(0.25), atol=1e-2)


def test_projected_patches_have_nothing_left_on_the_axis_from_green_to_magenta():
    patches, _ = make(color="project").hide({"images": smooth_images(8)})
    assert (-patches[:, :, 0] + 2 * patches[:, :, 1] - patches[:, :, 2]).abs().max() < 1e-4
    kept, _ = make(color="keep").hide({"images": smooth_images(8)})
    assert (-kept[:, :, 0] + 2 * kept[:, :, 1] - kept[:, :, 2]).abs().max() > 0.1


def test_dropped_colour_leaves_one_channel_of_each_patch():
    patches, _ = make(color="drop").hide({"images": smooth_images(30)})
    spread = patches.std((3, 4)).flatten(0, 1)
    order = spread.sort(1, descending=True).values
    assert (order[:, 1] < 0.2 * order[:, 0]).all()
    assert spread.argmax(1).bincount().min() > 50  # of 270, each channel about as often


def test_a_pair_is_judged_by_its_two_patches_alone():
    """In eval mode, other patches change no score, and the same two patches get the same score in any place."""
    method = make().eval()
    patches, _ = method.hide({"images": smooth_images(2)})
    moved = torch.zeros_like(patches)
    moved[:, 4], moved[:, 5] = patches[:, 0], patches[:, 1]
    pairs = neighbours(3)[:, :2].tolist()
    with torch.no_grad():
        scores = method.predict(patches).view(2, 40, 8)[:, pairs.index([0, 1])]
        again = method.predict(moved).view(2, 40, 8)[:, pairs.index([4, 5])]
        swapped = method.predict(moved).view(2, 40, 8)[:, pairs.index([5, 4])]
    assert torch.allclose(scores, again, atol=1e-5)
    assert not torch.allclose(scores, swapped, atol=1e-3)


def test_trivial_is_what_the_shares_of_the_sides_cost():
    method = make()
    sides = neighbours(3)[:, 2]
    counts = [sides.tolist().count(side) for side in range(8)]
    shares = torch.tensor(counts) / 40
    best = method.loss(shares.log().expand(40, 8), sides)
    assert best["loss"].item() == pytest.approx(best["trivial"], rel=1e-5)
    assert best["trivial"] == pytest.approx(sum(c / 40 * math.log(40 / c) for c in counts))
    assert method.loss(torch.zeros(40, 8), sides)["loss"].item() > best["trivial"]


def test_the_picture_lays_the_second_patch_beside_the_first():
    method = make(color="keep")
    patches, sides = method.hide({"images": smooth_images(5)})
    columns = method.picture(patches, sides, F.one_hot(sides, 8).float())
    frame = method.tile + 2
    assert torch.equal(columns["true"], columns["said"])
    for i in range(5):
        first, second, side = neighbours(3)[i * 11 % 40].tolist()
        down, right = SIDES[side]
        rows, places = (1 + down) * frame + 1, (1 + right) * frame + 1
        there = columns["true"][i, :, rows : rows + method.tile, places : places + method.tile]
        centre = columns["true"][i, :, frame + 1 : 2 * frame - 1, frame + 1 : 2 * frame - 1]
        assert torch.equal(there, patches[i, second].clamp(0, 1))
        assert torch.equal(centre, patches[i, first].clamp(0, 1))


def test_a_batch_is_learned_by_heart():
    terms = overfit(make(grid=None, color="keep"), smooth_images(16), seeds=[0] * 12)[-1]
    assert terms["loss"] < 0.6 * terms["trivial"]


@pytest.mark.parametrize(
    ("size", "encoder", "grid", "tile"), [(28, "convnet", 2, 11), (32, "vit-tiny", 2, 12), (96, "resnet18", 3, 25)]
)
def test_it_fits_sizes_and_encoders(size, encoder, grid, tile):
    method = make(size=size, encoder=encoder, grid=None, channels=1)
    assert (method.grid, method.tile) == (grid, tile)
    assert torch.isfinite(method({"images": smooth_images(3, size, 1)})["loss"])


def test_an_encoder_that_is_too_small_is_refused():
    with pytest.raises(
        ValueError, match=r"An encoder of 16 pixels is too small for 3 x 3 tiles\. Give --size 24 or more"
    ):
        make(size=16)
