"""Shuffle and learn: sampled frames, shortcuts that are excluded, and what it learns."""

import math

import pytest
import torch
from torch import nn

from tests.methods.toys import overfit
from withhold import nets
from withhold.errors import UsageError
from withhold.methods.video.shuffle_and_learn import ShuffleAndLearn, lengths


def make(size=32, channels=1, **values):
    torch.manual_seed(0)
    return ShuffleAndLearn(nets.build("convnet", size=size, channels=channels), **values)


def moving(n=64, t=16, size=32, step=None, seed=0):
    """A bright bar that moves to the right by one pixel a frame, or by `step` [n, t]: uint8 [n, t, 1, size, size]."""
    rng = torch.Generator().manual_seed(seed)
    step = torch.ones(n, t) if step is None else step
    place = torch.randint(0, size - 22, (n, 1), generator=rng) + step.cumsum(1)
    column = torch.arange(size)
    bar = (column >= place[..., None]) & (column < place[..., None] + 5)
    clips = 40 + 160 * bar[:, :, None, None, :].expand(n, t, 1, size, size)
    return clips.to(torch.uint8)


def test_the_middle_frame_is_between_the_outer_ones_and_the_wrong_one_is_not():
    method = make(gap=3, span=7)
    for seed in range(5):
        method.seed(seed)
        places, weight = method.draw(moving())
        first, middle, last, wrong = places.T
        assert ((first < middle) & (middle < last) & (last - first <= 7)).all()
        assert ((wrong <= first - 3) | (wrong >= last + 3)).all()
        assert (places >= 0).all() and (places < 16).all()
        assert weight.all()
    assert 0.2 < (wrong < first).float().mean() < 0.8, "from before as well as from after"


@pytest.mark.parametrize("motion", ["differences", "flow"])
def test_frames_are_drawn_where_something_moves(motion):
    """The bar moves in frames 5 to 10 only; it must have moved before the middle frame, and go on after it."""
    step = torch.zeros(200, 16)
    step[:, 6:11] = 3
    places, weight = make(gap=1, motion=motion).draw(moving(200, step=step))
    first, middle, last, wrong = places.T
    assert ((middle >= 6) & (middle <= 9)).all()
    assert ((first < 9) & (last > 6)).all()
    assert weight.float().mean() > 0.9
    used = weight > 0
    alike = (wrong.clamp(5, 10)[:, None] == places[:, :3].clamp(5, 10)).any(1)
    assert not alike[used].any(), "what looks like one of the others is rejected"


def test_flow_is_how_far_points_go_and_differences_how_much_they_change():
    """Bright stripes go half a pixel a frame, then faint ones two."""
    place = torch.tensor([0.5] * 8 + [2.0] * 8).cumsum(0)[:, None]
    light = torch.tensor([100.0] * 8 + [20.0] * 8)[:, None]
    stripes = 128 + light * ((torch.arange(32) - place) * math.pi / 8).sin()
    clips = stripes[None, :, None, None].expand(500, -1, 1, 32, -1).to(torch.uint8)
    late = {motion: make(motion=motion).draw(clips)[0][:, 1] > 7 for motion in ("differences", "flow")}
    assert late["differences"].float().mean() < 0.5
    assert late["flow"].float().mean() > 0.6
    still = clips[:2, :1].expand(-1, 16, -1, -1, -1)
    assert lengths(still).shape == (2, 15) and lengths(still).abs().max() < 1e-5


def test_clips_that_stand_still_or_only_flicker_weigh_nothing():
    method = make()
    clips = moving(8)
    clips[:3] = clips[:3, :1].clone()
    clips[3] = clips[3, :1] + torch.tensor([0, 1] * 8).view(16, 1, 1, 1).to(torch.uint8)
    _, (order, weight) = method.hide({"videos": clips})
    assert weight.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] * 2
    scores = torch.randn(16, 2, requires_grad=True)
    method.loss(scores, (order, weight))["loss"].backward()
    assert (scores.grad.abs().sum(1) > 0).tolist() == [False] * 4 + [True] * 4 + [False] * 4 + [True] * 4
    nothing = method.loss(scores, (order, torch.zeros(16)))
    assert nothing["loss"].item() == nothing["trivial"].item() == 0, "guessing costs nothing either"


def test_videos_in_which_nothing_moves_are_named_and_one_that_moves_is_enough():
    class Clips(list):
        def batch(self, indices):
            return torch.stack([self[i] for i in indices])

    clips = moving(40)
    still = Clips(clips[:, :1].expand(-1, 16, -1, -1, -1))
    with pytest.raises(UsageError, match="Nothing moves"):
        make().prepare(videos=still)
    still[33] = clips[33]
    make().prepare(videos=still)


def test_light_that_fades_over_a_still_clip_is_no_movement():
    """Else how light the middle frame is would tell: by more than the frames' own jitter, if it fades by a third."""
    still, fade = moving(6)[:, :1].float(), torch.linspace(0.6, 1.2, 16).view(1, 16, 1, 1, 1)
    assert make().draw((still * fade).to(torch.uint8))[1].sum() == 0
    assert make().draw((moving(6) * fade).to(torch.uint8))[1].sum() == 6, "what moves meanwhile does count"
    black = torch.zeros(6, 16, 1, 32, 32, dtype=torch.uint8)
    assert make().draw(black)[1].sum() == 0


@pytest.mark.parametrize("light", [0, 120, 255])
@pytest.mark.parametrize("where", [range(4), range(6, 9), range(12, 16), [5]])
def test_blank_frames_are_not_drawn(where, light):
    """Else the one that is blank is the middle one, or is not, according to where in the clip it lies."""
    clips = moving(100)
    clips[:, list(where)] = light
    for seed in range(5):
        method = make()
        method.seed(seed)
        places, weight = method.draw(clips)
        assert not torch.isin(places, torch.tensor(where)).any(1)[weight > 0].any()
        assert weight.mean() > 0.9


@pytest.mark.parametrize("light", [0, 255])
def test_frames_that_have_faded_are_not_drawn(light):
    left = torch.ones(16)
    left[-6:] = torch.linspace(1, 0, 7)[1:]
    left = left.view(1, 16, 1, 1, 1)
    places, weight = make().draw((moving(200) * left + light * (1 - left)).to(torch.uint8))
    assert places[weight > 0].max() < 14 and weight.mean() > 0.9


def test_a_clip_of_blank_frames_weighs_nothing():
    blank = torch.linspace(0, 255, 16).view(1, 16, 1, 1, 1).expand(4, -1, 1, 32, 32).to(torch.uint8)
    for clips in (blank, blank * (torch.arange(16) % 2).view(1, 16, 1, 1, 1).to(torch.uint8)):
        assert make().draw(clips)[1].sum() == 0


def test_a_video_that_returns_is_no_lesson():
    """A bar that jumps between three places: where two of the four frames look alike, the clip does not count."""
    where = torch.randint(0, 3, (200, 16), generator=torch.Generator().manual_seed(0)) * 6
    step = where.diff(dim=1, prepend=torch.zeros(200, 1, dtype=torch.int64)).float()
    places, weight = make(gap=1).draw(moving(200, step=step))
    first, middle, last, wrong = where.gather(1, places).T
    right = (wrong != first) & (wrong != middle) & (wrong != last) & (middle != first) & (middle != last)
    assert (weight.bool() == right).all()
    assert 0.1 < weight.mean() < 0.9


def test_triples_at_either_end_of_a_clip_are_drawn_too():
    """There the wrong frame can come from one side alone."""
    first, _, last, wrong = make().draw(moving(500))[0].T
    for at_end, side in ((first < 2, wrong > last), (last > 13, wrong < first)):
        assert at_end.any() and side[at_end].all()
    assert (first == 0).any() and (last == 15).any()


def close(seen, place):
    """Whether a frame is as light as that at a place, but for the jitter."""
    level = (place * 8 + 40) / 255
    return abs(seen - level) <= 0.21 * level


def test_both_triples_have_the_same_outer_frames_in_either_direction():
    method = make()
    method.seed(1)
    gradient = torch.arange(16, dtype=torch.uint8).view(1, 16, 1, 1, 1) * 8 + 40  # every frame of its own lightness
    clips = (gradient + torch.zeros(40, 16, 1, 32, 32, dtype=torch.uint8)).clone()
    places = method.draw(clips)[0]
    method.seed(1)
    triples, (order, _) = method.hide({"videos": clips})
    assert triples.shape == (80, 3, 1, 32, 32)
    assert order.tolist() == [1] * 40 + [0] * 40
    forward = set()
    for i in range(40):
        first, middle, last, wrong = places[i].tolist()
        both = triples[[i, 40 + i]].mean((2, 3, 4))
        assert close(both[0, 1], middle)
        assert close(both[1, 1], wrong)
        straight = all(close(pair[0], first) and close(pair[2], last) for pair in both)
        mirrored = all(close(pair[0], last) and close(pair[2], first) for pair in both)
        assert straight or mirrored
        forward |= {straight} if straight != mirrored else set()
    assert forward == {True, False}


def test_frames_of_a_triple_differ_in_colour_and_edges_even_where_nothing_moved():
    noise = torch.randint(0, 256, (4, 1, 3, 32, 32), dtype=torch.uint8).expand(-1, 16, -1, -1, -1)
    triples, _ = make(channels=3).hide({"videos": noise})
    assert (triples.diff(dim=1).abs().mean((2, 3, 4)) > 0.005).float().mean() > 0.9


def test_the_loss_is_the_cross_entropy_of_the_two_answers():
    method, order = make(), torch.tensor([1, 1, 0, 0])
    scores = torch.randn(4, 2)
    said = [math.log(1 + math.exp((row[1 - i] - row[i]).item())) for row, i in zip(scores, order, strict=True)]
    found = method.loss(scores, (order, torch.tensor([1.0, 0, 1, 0])))
    assert found["loss"].item() == pytest.approx((said[0] + said[2]) / 2, rel=1e-5)
    assert method.loss(torch.zeros(4, 2), (order, torch.ones(4)))["loss"].item() == pytest.approx(math.log(2))
    right = torch.tensor([[0.0, 1], [1, 0], [1, 0], [1, 0]])
    assert method.loss(right, (order, torch.ones(4)))["accuracy"].item() == 0.75
    assert found["moving"].item() == 0.5


def test_what_all_three_frames_share_has_no_say(monkeypatch):
    method = make(hidden=4)
    method.frame = nn.Flatten()
    monkeypatch.setattr(method.encoder, "maps", lambda images: images[:, :, :2, :2])  # codes of four numbers
    triples, scene = torch.rand(5, 3, 1, 32, 32), torch.rand(5, 1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(method.predict(triples + 9 * scene), method.predict(triples), atol=1e-5, rtol=1e-5)
        assert (method.predict(triples.flip(1)) - method.predict(triples)).abs().max() > 1e-3


def test_the_order_of_a_moving_bar_is_learned():
    method = make()
    terms = overfit(method, {"videos": moving(16)}, seeds=range(50), lr=3e-3)[-8:]
    assert sum(t["loss"].item() for t in terms) / 8 < 0.6 * math.log(2)


def test_values_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="frames must be at least 5 with a gap of 2, not 4"):
        make(frames=4)
    with pytest.raises(ValueError, match="span must be at least 2"):
        make(span=1)
