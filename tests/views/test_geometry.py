import math

import numpy as np
import pytest
import torch
from scipy import interpolate, stats
from torch.nn import functional as F

from withhold import views
from withhold.views.geometry import along, axis_weights, draw_crops, inverse_affine, thin_plate, warp


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def crops_one_by_one(count, height, width, area, aspect, seed):
    """RandomResizedCrop's boxes as torchvision documents them, drawn in a plain loop."""
    random, boxes = rng(seed), []

    def uniform(low, high):
        return low + (high - low) * torch.rand((), generator=random, dtype=torch.float64).item()

    for _ in range(count):
        for _attempt in range(10):
            share = uniform(*area) * height * width
            ratio = math.exp(uniform(math.log(aspect[0]), math.log(aspect[1])))
            w, h = round(math.sqrt(share * ratio)), round(math.sqrt(share / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = int(uniform(0, height - h + 1)), int(uniform(0, width - w + 1))
                break
        else:
            w, h = width, height
            if width / height < aspect[0]:
                h = round(width / aspect[0])
            elif width / height > aspect[1]:
                w = round(height * aspect[1])
            top, left = (height - h) // 2, (width - w) // 2
        boxes.append((top, left, h, w))
    return torch.tensor(boxes, dtype=torch.float64)


@pytest.mark.parametrize(
    ("height", "width", "area", "aspect"),
    [
        (40, 60, (0.08, 1.0), (3 / 4, 4 / 3)),
        (64, 64, (0.6, 1.0), (3 / 4, 4 / 3)),
        (120, 40, (0.5, 1.0), (3 / 4, 4 / 3)),  # the image is so tall that most boxes fall back
    ],
)
def test_crops_are_distributed_as_torchvisions(height, width, area, aspect):
    ours = torch.stack(draw_crops(4000, height, width, area, aspect, rng(1)), 1).double()
    theirs = crops_one_by_one(4000, height, width, area, aspect, seed=2)
    assert (ours >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    assert stats.ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]).pvalue > 1e-3
    assert stats.ks_2samp(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]).pvalue > 1e-3


@pytest.mark.parametrize("size", [8, 20, 50])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_crop_is_torchs_antialiased_resize_of_the_cut_out_box(size, mirror):
    images = torch.rand(30, 3, 40, 33, generator=rng())
    top, left, tall, wide = draw_crops(30, 40, 33, (0.05, 1.0), (0.5, 2.0), rng())
    places = torch.arange(size)[None]
    rows = along(images, *axis_weights(top, tall, 40, size, places)).view(30, 3, 33, size)
    columns = axis_weights(left, wide, 33, size, places.flip(1) if mirror else places)
    ours = along(rows, *columns).view(30, 3, size, size)
    for i in range(30):
        y, x, h, w = (int(box[i]) for box in (top, left, tall, wide))
        box = images[i : i + 1, :, y : y + h, x : x + w]
        resized = F.interpolate(box, (size, size), mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(ours[i], resized.flip(2) if mirror else resized, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("pixels", "size"), [(90, 70), (70, 128), (300, 64)])
def test_windows_of_an_axis_are_all_of_it_that_matters(pixels, size):
    """The product in blocks of 32, each with its window, equals that with one dense matrix per image."""
    images = torch.rand(20, 2, pixels, 5, generator=rng())
    start, _, length, _ = draw_crops(20, pixels, pixels, (0.05, 1.0), (0.5, 2.0), rng())
    places = torch.arange(32 * (size // 32)).view(-1, 32)
    weights, first = axis_weights(start, length, pixels, size, places)
    dense = torch.zeros(20, places.numel(), pixels, dtype=torch.float64)
    for i, row in np.ndindex(20, places.numel()):
        step = length[i].item() / size
        index = torch.arange(pixels, dtype=torch.float64)
        triangle = 1 - (index + 0.5 - start[i] - step * (row + 0.5)).abs() / max(step, 1)
        inside = (index >= start[i]) & (index < start[i] + length[i])
        dense[i, row] = triangle.clamp(min=0) * inside
    dense /= dense.sum(2, keepdim=True)
    expected = torch.einsum("nyh,ngho->ngoy", dense, images.double()).flatten(1, 2)
    assert weights.shape[3] < pixels
    torch.testing.assert_close(along(images, weights, first).flatten(2).double(), expected, atol=2e-5, rtol=0)


def test_flip_mirrors_a_share_of_the_images_and_nothing_else():
    images = torch.randint(0, 256, (2000, 1, 3, 4), generator=rng(), dtype=torch.uint8)
    flipped = views.flip(images, rng(), 0.3)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    assert stats.binomtest(int(mirrored.sum()), 2000, 0.3).pvalue > 1e-3


def constant(value, n=2):
    return torch.full((n,), float(value))


def test_a_warp_by_a_quarter_turn_is_a_transposition():
    images = torch.rand(2, 3, 7, 7, generator=rng())
    matrices = inverse_affine(constant(90), constant(1), constant(0), constant(0), torch.zeros(2, 2))
    torch.testing.assert_close(warp(images, matrices), images.rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def test_a_warp_moves_by_whole_pixels_and_leaves_black_behind():
    images = torch.rand(2, 1, 6, 9, generator=rng())
    move = torch.tensor([[2.0, -1.0], [2.0, -1.0]])
    moved = warp(images, inverse_affine(constant(0), constant(1), constant(0), constant(0), move))
    expected = torch.zeros_like(images)
    expected[:, :, :5, 2:] = images[:, :, 1:, :7]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_a_warp_follows_a_point_through_shear_scale_turn_and_move():
    h, w, turn, scale, shear_x, shear_y, move = 41, 61, 25.0, 0.8, 0.2, -0.1, (5.0, -3.0)
    x, y = 8.0, -6.0  # from the centre
    sheared = (scale * (x + shear_x * y), scale * (y + shear_y * x))
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    target = (cos * sheared[0] - sin * sheared[1] + move[0], sin * sheared[0] + cos * sheared[1] + move[1])
    rows, columns = torch.meshgrid(torch.arange(h) - h // 2, torch.arange(w) - w // 2, indexing="ij")
    spot = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4.0)[None, None]
    numbers = [constant(v, 1) for v in (turn, scale, shear_x, shear_y)]
    warped = warp(spot, inverse_affine(*numbers, torch.tensor([move])))[0, 0]
    found = ((warped * columns).sum() / warped.sum(), (warped * rows).sum() / warped.sum())
    assert found == pytest.approx(target, abs=0.05)


def test_affine_without_ranges_is_the_identity_and_with_them_differs_by_sample():
    images = torch.rand(1, 3, 16, 20, generator=rng()).expand(8, -1, -1, -1)
    torch.testing.assert_close(views.affine(images, rng()), images, atol=1e-5, rtol=0)
    moved = views.affine(images, rng(), degrees=20, translate=0.1, scale=(0.8, 1.2), shear=0.1)
    assert len({tuple(view.flatten().tolist()) for view in moved}) == 8


def test_a_thin_plate_is_scipys():
    """It passes through the control points, and agrees with SciPy between and around them."""
    moves = torch.randn(2, 4, 4, 2, generator=rng())
    found = thin_plate(moves, 10, 12)

    def middles(rows, columns):
        y, x = ((2 * np.arange(length) + 1) / length - 1 for length in (rows, columns))
        return np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)

    for one, field in zip(moves, found, strict=True):
        theirs = interpolate.RBFInterpolator(middles(4, 4), one.reshape(-1, 2).numpy(), kernel="thin_plate_spline")
        torch.testing.assert_close(
            field.reshape(-1, 2).double(), torch.from_numpy(theirs(middles(10, 12))), atol=1e-3, rtol=0
        )
    torch.testing.assert_close(thin_plate(moves, 4, 4), moves, atol=1e-4, rtol=0)


def test_an_image_is_bent_about_where_it_was():
    """The displacement of the centres of cells has the standard deviation 0.05 along each axis."""
    place = torch.linspace(0, 1, 65)[:-1] + 1 / 128
    images = torch.stack([place.expand(64, 64), place[:, None].expand(64, 64)]).expand(400, -1, -1, -1)
    moved = views.affine(images, rng(), bend=0.05) - images
    middles = moved[:, :, 24:41:16, 24:41:16]  # near the middles of the four cells in the middle
    assert middles.std((0, 2, 3)).tolist() == pytest.approx([0.05, 0.05], rel=0.1)
    assert middles.mean().item() == pytest.approx(0, abs=0.005)


def test_shifts_are_whole_pixels_of_the_image_in_a_mirror():
    images = torch.rand(1, 2, 16, 24, generator=rng()).expand(600, -1, -1, -1)
    seen = views.shift(images, rng(), share=1 / 8)
    padded = np.pad(images[0].numpy(), ((0, 0), (2, 2), (3, 3)), mode="reflect")
    known = {
        padded[:, top : top + 16, left : left + 24].tobytes(): (top, left) for top in range(5) for left in range(7)
    }
    counts = dict.fromkeys(known.values(), 0)
    for view in seen:
        counts[known[view.contiguous().numpy().tobytes()]] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
