"""Clips: the same crop, flip and colours for all frames of a clip, and motion."""

import numpy as np
import pytest
import torch

from withhold import views

CHAIN = {
    "crop": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_probability": 1.0, "grey": 0.2, "blur": 0.5,
    "solarize": 0.3,
}  # fmt: skip


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def still(photos, n=12, t=3):
    """Clips whose frames are all the same."""
    return torch.from_numpy(photos[:n]).permute(0, 3, 1, 2)[:, None].expand(-1, t, -1, -1, -1)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_frames_of_a_clip_are_changed_alike(photos, channels):
    seen = views.augment(still(photos)[:, :, :channels], rng(), size=24, **CHAIN)
    assert seen.shape == (12, 3, channels, 24, 24)
    assert all(torch.equal(seen[:, 0], seen[:, i]) for i in (1, 2)), "what does not move does not move in a view"


def test_clips_are_changed_each_in_its_own_way(photos):
    same = still(photos, 1).expand(10, -1, -1, -1, -1)
    assert len({clip.numpy().tobytes() for clip in views.augment(same, rng(), **CHAIN)}) == 10


def test_a_clip_is_changed_as_an_image_is_with_the_same_numbers(photos):
    """Contrast uses the mean of the whole clip, so the colour of still regions is constant while others move."""
    clips = torch.from_numpy(photos[:24]).permute(0, 3, 1, 2).unflatten(0, (8, 3))
    images = clips.transpose(1, 2).flatten(2, 3)  # the frames of a clip, one below the other
    chain = {"jitter": CHAIN["jitter"], "jitter_probability": 1.0, "grey": 0.2, "solarize": 0.3}
    tall = views.augment(images, rng(), **chain)
    expected = tall.unflatten(2, (3, 32)).transpose(1, 2)
    torch.testing.assert_close(views.augment(clips, rng(), **chain), expected, atol=2e-6, rtol=0)


def test_frames_given_as_images_differ_on_purpose(photos):
    seen = views.augment(still(photos).flatten(0, 1), rng(), **CHAIN).unflatten(0, (12, 3))
    assert (seen.diff(dim=1).abs().mean((2, 3, 4)) > 0).all()


def test_large_batches_do_not_cut_clips(photos, monkeypatch):
    clips = torch.from_numpy(photos[:24]).permute(0, 3, 1, 2).unflatten(0, (8, 3))
    whole = views.augment(clips, rng(), **CHAIN)
    import sys

    monkeypatch.setattr(sys.modules["withhold.views.augment"], "CACHED", 4 * 3 * 32 * 32)  # four frames: one clip
    torch.testing.assert_close(views.augment(clips, rng(), **CHAIN), whole)


def test_motion_is_the_mean_difference_of_following_frames():
    clips = torch.randint(0, 256, (4, 5, 3, 6, 7), generator=rng(), dtype=torch.uint8)
    values = clips.numpy().astype(np.float64) / 255
    expected = [[np.abs(clip[i + 1] - clip[i]).mean() for i in range(4)] for clip in values]
    np.testing.assert_allclose(views.motion(clips), expected, rtol=1e-5)
    torch.testing.assert_close(views.motion(clips / 255), views.motion(clips))
    assert views.motion(torch.full((2, 3, 1, 4, 4), 7, dtype=torch.uint8)).tolist() == [[0, 0], [0, 0]]


def smooth(n, size, seed=0):
    """Images float [n, 1, size, size] in [0, 1], without edges."""
    coarse = torch.rand(n, 1, size // 8, size // 8, generator=rng(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("move", [(1, 0), (0, 2), (3, -2), (-4, 0)])
def test_flow_says_where_each_point_went(move):
    right, down = move
    scene = smooth(4, 64)
    clips = torch.stack(
        [scene[:, :, 10 - i * down : 58 - i * down, 10 - i * right : 58 - i * right] for i in (0, 1)], 1
    )
    inner = views.flow(clips)[:, 0, :, 8:-8, 8:-8]
    for found, expected in zip(inner.unbind(1), move, strict=True):
        assert (found - expected).abs().median() < 0.2
        assert (found - expected).abs().mean() < 0.6


def test_flow_of_stripes_is_across_them():
    """Motion along stripes is invisible: diagonal stripes that move 0.4 pixels right show 0.2 right and 0.2 down."""
    rows, columns = torch.arange(32.0)[:, None], torch.arange(32.0)
    clips = torch.stack([0.5 + 0.4 * ((rows + columns - moved) * 0.4).sin() for moved in (0, 0.4)])[None, :, None]
    assert (views.flow(clips)[0, 0, :, 4:-4, 4:-4] - 0.2).abs().max() < 0.05


def test_flow_of_frames_that_have_nothing_in_common_stays_within_them():
    """At cuts and where new content enters, there is no true flow; without a limit, the estimate would diverge."""
    scenes = smooth(20, 16).unflatten(0, (5, 4))
    assert views.flow(scenes).norm(dim=2).max() < 16
    fast = smooth(16, 64)
    clips = torch.stack([fast[:, :, 16:48, 16:48], fast[:, :, 16:48, 20:52]], 1)  # 4 pixels to the left
    wrong = (views.flow(clips)[:, 0] - torch.tensor([-4.0, 0])[:, None, None]).norm(dim=1)
    assert wrong.mean() < 1.5, "also where points leave the frame"


def test_flow_is_nought_where_nothing_moves_and_follows_halves_that_part():
    scene = smooth(6, 64)
    still = scene[:, None].expand(-1, 3, -1, -1, -1)
    assert views.flow(still).shape == (6, 2, 2, 64, 64)
    assert views.flow(still).abs().max() < 1e-5
    assert views.flow(torch.full((1, 2, 3, 9, 11), 7, dtype=torch.uint8)).abs().max() == 0
    left, right = scene[..., :24], scene[..., 32:56]
    apart = [torch.cat([left[..., i : i + 20], right[..., 2 - i : 22 - i]], 3) for i in (0, 2)]
    across = views.flow(torch.stack(apart, 1))[:, 0, 0, 8:-8]
    assert across[..., 6:14].median() == pytest.approx(-2, abs=0.2)
    assert across[..., 26:34].median() == pytest.approx(2, abs=0.2)


def test_flow_sees_bytes_as_it_sees_shares_of_one():
    clips = torch.randint(0, 256, (2, 3, 3, 20, 24), generator=rng(), dtype=torch.uint8)
    torch.testing.assert_close(views.flow(clips), views.flow(clips / 255))
