"""Masks, boxes and points follow the pixels of their image, checked against loops."""

import math
from fractions import Fraction

import pytest
import torch

from withhold import views
from withhold.errors import UsageError
from withhold.views.geometry import draw_crops
from withhold.views.random import chance

H, W, N = 20, 28, 12
SIMCLR = {"crop": (0.08, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "grey": 0.2, "blur": 0.5, "solarize": 0.2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pattern(n=N):
    return (torch.arange(n * 3 * H * W) * 37 % 256).to(torch.uint8).view(n, 3, H, W)


def draws(seed, crop=(0.08, 1.0), flip=0.5):
    """The first random numbers of `augment`: (top, left, height, width, mirrored) of every image, as Python numbers."""
    random = rng(seed)
    crops = draw_crops(N, H, W, crop, (3 / 4, 4 / 3), random)
    mirrored = chance(N, flip, random).tolist()
    return [(*map(int, crop), mirror) for *crop, mirror in zip(*crops, mirrored, strict=True)]


def to_view(x, y, drawn, size):
    top, left, tall, wide, mirrored = drawn
    x, y = (x - left) / wide * size, (y - top) / tall * size
    return (size - x if mirrored else x), y


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("size", [7, 16, 45])
def test_a_mask_is_cropped_resized_and_mirrored_as_by_a_loop(dtype, size):
    masks = (torch.arange(N * H * W).view(N, H, W) % (251 if dtype == torch.uint8 else N * H * W)).to(dtype)
    _, seen = views.augment(pattern(), rng(1), size=size, crop=(0.08, 1.0), masks=masks)
    assert seen.shape == (N, size, size)
    assert seen.dtype == dtype
    for n, (top, left, tall, wide, mirrored) in enumerate(draws(1)):
        for i in range(size):
            for j in range(size):
                place = size - 1 - j if mirrored else j
                row = math.floor(top + (i + Fraction(1, 2)) * tall / size)
                column = math.floor(left + (place + Fraction(1, 2)) * wide / size)
                assert seen[n, i, j] == masks[n, row, column]


def test_without_a_crop_nothing_moves_but_in_mirror_images():
    masks, boxes, points = torch.arange(N * H * W).view(N, H, W), random_boxes()[:, :-1], torch.tensor([27.0, 19])
    given = {"masks": masks, "boxes": boxes, "points": points.expand(N, 1, 2)}
    same = views.augment(pattern(), rng(), flip=0, **given)[1:]
    assert all(map(torch.equal, same, given.values()))
    mask, box, point = views.augment(pattern(), rng(), flip=1, **given)[1:]
    assert torch.equal(mask, masks.flip(2))
    assert torch.equal(box, torch.stack([W - boxes[..., 2], boxes[..., 1], W - boxes[..., 0], boxes[..., 3]], 2))
    assert point.unique(dim=0).tolist() == [[[1, 19]]]
    below = views.augment(pattern(), rng(), points=torch.tensor([10.0, 24]).expand(N, 1, 2))[1]
    assert below.isnan().all()


def test_a_box_is_clipped_and_missing_where_less_than_a_quarter_is_left():
    boxes = random_boxes()
    _, seen = views.augment(pattern(), rng(2), size=16, crop=(0.08, 1.0), boxes=boxes)
    missing = 0
    for n, drawn in enumerate(draws(2)):
        top, left, tall, wide, _ = drawn
        for box, carried in zip(boxes[n].tolist(), seen[n].tolist(), strict=True):
            x0, y0, x1, y1 = (
                max(box[0], left), max(box[1], top), min(box[2], left + wide), min(box[3], top + tall),
            )  # fmt: skip
            area = max(0, x1 - x0) * max(0, y1 - y0)
            if math.isnan(box[0]) or area < 0.25 * (box[2] - box[0]) * (box[3] - box[1]):
                assert all(map(math.isnan, carried))
                missing += not math.isnan(box[0])
            else:
                (a, y0), (b, y1) = to_view(x0, y0, drawn, 16), to_view(x1, y1, drawn, 16)
                assert carried == pytest.approx([min(a, b), y0, max(a, b), y1], abs=1e-4)
    assert 10 < missing < N * 8 - 10


@pytest.mark.parametrize("flag", [0, 1, 2])
def test_the_class_of_a_box_stays_and_one_that_is_hardly_left_is_ignored(flag):
    """Objects become difficult; crowds and difficult objects stay so while any part is visible."""
    numbers = torch.tensor([3.0, flag]).expand(N, 9, 2)
    boxes = random_boxes()
    options = {"size": 16, "crop": (0.08, 1.0)}
    _, plain = views.augment(pattern(), rng(2), boxes=boxes, **options)
    _, seen = views.augment(pattern(), rng(2), boxes=torch.cat([boxes, numbers], 2), **options)
    whole = ~plain[..., 0].isnan()
    assert torch.equal(seen[whole], torch.cat([plain, numbers], 2)[whole])
    hardly = 0
    for n, drawn in enumerate(draws(2)):
        top, left, tall, wide, _ = drawn
        for box, carried in zip(boxes[n][~whole[n]].tolist(), seen[n][~whole[n]].tolist(), strict=True):
            x0, y0, x1, y1 = (
                max(box[0], left), max(box[1], top), min(box[2], left + wide), min(box[3], top + tall),
            )  # fmt: skip
            if x1 > x0 and y1 > y0:
                (a, y0), (b, y1) = to_view(x0, y0, drawn, 16), to_view(x1, y1, drawn, 16)
                assert carried == pytest.approx([min(a, b), y0, max(a, b), y1, 3, flag or 1], abs=1e-4)
                hardly += 1
            else:
                assert all(map(math.isnan, carried))
    assert hardly > 5


def random_boxes(m=9):
    """float [N, m, 4] of whole pixels and at least 4 pixels wide and tall; each image's last one is missing."""
    random = rng(7)
    left = torch.randint(W - 3, (N, m), generator=random)
    top = torch.randint(H - 3, (N, m), generator=random)
    right = left + 4 + (torch.rand(N, m, generator=random) * (W - 3 - left)).long()
    bottom = top + 4 + (torch.rand(N, m, generator=random) * (H - 3 - top)).long()
    boxes = torch.stack([left, top, right, bottom], 2).float()
    boxes[:, -1] = torch.nan
    return boxes


@pytest.mark.parametrize("size", [16, 45])
def test_a_mask_drawn_from_a_box_is_still_what_the_box_says(size):
    boxes = random_boxes(2)
    masks = torch.zeros(N, H, W, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes[:, 0].int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    for seed in range(10):
        _, masked, boxed = views.augment(pattern(), rng(seed), size=size, crop=(0.2, 1.0), masks=masks, boxes=boxes)
        for mask, box in zip(masked, boxed[:, 0], strict=True):
            if not box.isnan().any():
                rows, columns = mask.nonzero().unbind(1)
                around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                torch.testing.assert_close(torch.stack(around).float(), box, atol=1, rtol=0)


def test_a_box_of_no_area_and_one_at_exactly_a_quarter():
    boxes = torch.tensor([[3.0, 4, 3, 9], [-14, -10, 14, 10], [-15, -10, 14, 10]]).expand(N, 3, 4)
    seen = views.augment(pattern(), rng(), flip=0, boxes=boxes)[1]
    assert seen[0].isnan().all(1).tolist() == [True, False, True]
    assert seen[0, 1].tolist() == [0, 0, 14, 10]


@pytest.mark.parametrize("size", [12, 40])
def test_a_point_follows_a_single_bright_pixel(size):
    places = torch.stack([torch.randint(W, (N,), generator=rng(3)), torch.randint(H, (N,), generator=rng(4))], 1)
    images = torch.zeros(N, 1, H, W)
    for image, (x, y) in zip(images, places.tolist(), strict=True):
        image[0, y, x] = 1
    points = torch.stack([places + 0.5, torch.full((N, 2), torch.nan)], 1)
    found = 0
    for seed in range(10):
        seen, carried = views.augment(images, rng(seed), size=size, crop=(0.2, 1.0), points=points)
        assert carried[:, 1].isnan().all()
        for view, (x, y) in zip(seen[:, 0], carried[:, 0].tolist(), strict=True):
            assert math.isnan(x) == math.isnan(y) == (view.sum() == 0)
            if view.sum() > 0:
                middle = torch.arange(size) + 0.5
                weights = view / view.sum()
                reach = max(1, size / 8) / 2  # half a pixel of the image: at a crop's edge light comes from one side
                assert abs((weights.sum(0) * middle).sum() - x) < reach
                assert abs((weights.sum(1) * middle).sum() - y) < reach
                found += 1
    assert 30 < found < 10 * N


def test_points_are_where_a_loop_says():
    points = torch.rand(N, 5, 2, generator=rng(5)) * torch.tensor([W, H])
    _, seen = views.augment(pattern(), rng(6), size=16, crop=(0.08, 1.0), points=points)
    for n, drawn in enumerate(draws(6)):
        for point, carried in zip(points[n].tolist(), seen[n].tolist(), strict=True):
            expected = to_view(*point, drawn, 16)
            outside = not all(0 <= place <= 16 for place in expected)
            assert carried == pytest.approx([math.nan] * 2 if outside else expected, abs=1e-4, nan_ok=True)


def companions():
    points = torch.rand(N, 5, 2, generator=rng(5)) * torch.tensor([W, H])
    return {"masks": pattern()[:, 0], "boxes": random_boxes(), "points": points}


def test_colours_blur_and_solarize_leave_them_alone():
    plain = views.augment(pattern(), rng(1), size=16, crop=SIMCLR["crop"], **companions())
    changed = views.augment(pattern(), rng(1), size=16, **SIMCLR, **companions())
    assert not torch.equal(plain[0], changed[0])
    for one, other in zip(plain[1:], changed[1:], strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0, equal_nan=True)


def test_companions_change_neither_views_nor_draws():
    alone, beside = rng(), rng()
    seen = views.augment(pattern(), alone, size=16, **SIMCLR)
    assert torch.equal(views.augment(pattern(), beside, size=16, **SIMCLR, **companions())[0], seen)
    assert torch.equal(alone.get_state(), beside.get_state())


def test_views_without_companions_are_what_they_were_before_there_were_any():
    """The expected numbers were computed before masks, boxes and points were added."""
    random = rng()
    seen = views.augment(pattern(6), random, size=16, **SIMCLR)
    assert isinstance(seen, torch.Tensor)
    means = [0.311343, 0.495176, 0.324274, 0.500061, 0.498425, 0.346201]
    pixels = [0.297179, 0.737868, 0.491161, 0.215074, 0.69183, 0.43424]
    assert seen.mean((1, 2, 3)).tolist() == pytest.approx(means, abs=2e-6)
    assert seen[:, 1, 3, 5].tolist() == pytest.approx(pixels, abs=2e-6)
    assert torch.randint(2**31, (3,), generator=random).tolist() == [226866547, 708413884, 1588313677]


def test_those_that_are_given_come_in_the_order_masks_boxes_points():
    given = companions()
    _, *all_of_them = views.augment(pattern(), rng(), size=16, crop=(0.5, 1.0), **dict(reversed(given.items())))
    for name, followed in zip(("masks", "boxes", "points"), all_of_them, strict=True):
        _, alone = views.augment(pattern(), rng(), size=16, crop=(0.5, 1.0), **{name: given[name]})
        torch.testing.assert_close(alone, followed, atol=0, rtol=0, equal_nan=True)


def test_all_frames_of_a_clip_share_the_crop():
    given, clips = companions(), pattern(3 * N).view(N, 3, 3, H, W)
    masks = pattern(3 * N)[:, 0].view(N, 3, H, W)
    _, seen, *others = views.augment(clips, rng(1), size=16, **SIMCLR, **given | {"masks": masks})
    for t in range(3):
        _, frame, *same = views.augment(clips[:, t], rng(1), size=16, **SIMCLR, **given | {"masks": masks[:, t]})
        assert torch.equal(seen[:, t], frame)
        for one, other in zip(others, same, strict=True):
            torch.testing.assert_close(one, other, atol=0, rtol=0, equal_nan=True)


def test_masks_of_another_size_than_the_images_are_refused():
    with pytest.raises(UsageError, match=r"Masks have \(28, 20\) pixels, images \(20, 28\)"):
        views.augment(pattern(), rng(), masks=pattern()[:, 0].mT)
