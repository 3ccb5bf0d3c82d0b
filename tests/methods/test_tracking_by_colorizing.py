"""Tracking by colorizing: the pointer sees lightness only, and learns to find places again."""

import math

import numpy as np
import pytest
import torch

from tests.methods.toys import overfit, smooth_images
from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import answers, build, find
from withhold.methods.video import tracking_by_colorizing as module


def make(size=32, **values):
    torch.manual_seed(0)
    return build(find("tracking_by_colorizing"), nets.build("fineconv", size=size, channels=1), values)


class Stream:
    """The least that `prepare` needs of a stream."""

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def batch(self, indices):
        return self.clips[indices]


def moving(n=4, frames=4, size=32, step=4):
    """Smooth colour images that move to the right, uint8 [n, frames, 3, size, size]."""
    images = smooth_images(n, size)
    return torch.stack([images.roll(step * frame, 3) for frame in range(frames)], 1)


def prepared(clips, **values):
    method = make(**values)
    method.prepare(clips=Stream(clips))
    return method


def test_colour_never_reaches_the_encoder():
    """Clips of one lightness in different colours have the same features; textured ones, and plain ones in a view."""
    lab = views.rgb_to_lab(moving(2).flatten(0, 1).float() / 255)
    lab[:, 1:] *= 0.3  # so that all of it is in sRGB
    lab[:, 0] = 40 + 0.2 * lab[:, 0]
    swapped = torch.cat([lab[:, :1], lab[:, 1:].flip(1).neg()], 1)
    method = make().eval()
    clips = [views.lab_to_rgb(part).unflatten(0, (2, 4)) for part in (lab, swapped)]
    seen, ab = zip(*(module.split(clip, 4) for clip in clips), strict=True)
    assert (ab[0] - ab[1]).abs().max() > 5
    assert torch.allclose(*seen, atol=1e-4)
    assert torch.allclose(*(method.embed(part.flatten(0, 1)) for part in seen), atol=1e-2)
    plain = [clip[..., :1, :1].expand(-1, -1, -1, 32, 32) for clip in clips]
    shown = []
    for clip in plain:
        method.seed(1)
        (lightness, _), _ = method.hide({"clips": clip})
        assert lightness.shape == (2, 4, 1, 32, 32)
        shown.append(lightness)
    assert torch.allclose(*shown, atol=1e-4)


def test_the_withheld_colours_do_not_move_the_answer():
    """Other colours in the last frame alone change what is true, not what is seen."""
    clips = moving()
    method = prepared(clips).eval()
    other = clips.clone()
    other[:, -1] = (views.lab_to_rgb(views.rgb_to_lab(clips[:, -1].float() / 255) * torch.tensor([1, -1, -1])[
        None, :, None, None]) * 255).round().byte()  # fmt: skip
    found = []
    for batch in (clips, other):
        method.seed(2)
        (_, known), (colours, before, _) = method.hide({"clips": batch})
        found.append((known, before, colours))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][2], found[1][2])


def test_frames_of_a_clip_are_cut_out_alike():
    """A clip that does not move still does not, and copying is always right."""
    clips = moving(step=0)
    method = prepared(clips)
    visible, withheld = method.hide({"clips": clips})
    assert (visible[0] == visible[0][:, :1]).all()
    terms = method.loss(method.predict(visible), withheld)
    assert terms["identity"] == 1


def test_the_loss_is_the_cross_entropy_of_the_pointed_colours():
    clips = moving(2)
    method = prepared(clips, clusters=5)
    visible, withheld = method.hide({"clips": clips})
    lightness, known = visible
    colours = withheld[0]
    shares = method.predict(visible)
    maps = torch.nn.functional.normalize(method.encoder.maps(lightness.flatten(0, 1)), dim=1).unflatten(0, (2, 4))
    losses, hits, copies = [], [], []
    for n in range(2):
        places = [(t, y, x) for t in range(3) for y in range(8) for x in range(8)]
        keys = torch.stack([maps[n, t, :, y, x] for t, y, x in places])
        paints = [int(known[n, t, y, x]) for t, y, x in places]
        for y in range(8):
            for x in range(8):
                weights = ((keys @ maps[n, 3, :, y, x]) / 0.07).softmax(0)
                answer = torch.zeros(5).index_add_(0, torch.tensor(paints), weights)
                assert torch.allclose(shares[n, :, y, x], answer, atol=1e-4)
                truth = int(colours[n, y, x])
                losses.append(-math.log(0.99 * answer[truth].item() + 0.01 / 5))
                hits.append(int(answer.argmax()) == truth)
                copies.append(int(known[n, 2, y, x]) == truth)
    terms = method.loss(shares, withheld)
    assert terms["loss"].item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert terms["accuracy"].item() == pytest.approx(np.mean(hits), abs=1e-4)
    assert terms["identity"].item() == pytest.approx(np.mean(copies), abs=1e-4)
    share = colours.flatten().bincount(minlength=5) / colours.numel()
    entropy = -sum(float(p) * math.log(p) for p in share if p)
    assert terms["trivial"].item() == pytest.approx(entropy, rel=1e-4)


def test_clips_without_colour_do_not_count():
    clips = moving()
    method = prepared(clips)
    mixed = clips.clone()
    mixed[:2] = mixed[:2, :, :1]
    visible, withheld = method.hide({"clips": mixed})
    assert withheld[2].tolist() == [False, False, True, True]
    shares = method.predict(visible)
    kept = [part[2:] for part in withheld]
    for name, value in method.loss(shares, withheld).items():
        assert torch.allclose(value, method.loss(shares[2:], kept)[name], atol=1e-5), name
    assert method.loss(shares[:2], [part[:2] for part in withheld])["loss"] == 0


def test_colours_are_clustered_and_the_same_seed_gives_the_same():
    lab = torch.tensor([[60.0, 40.0, 20.0], [60.0, -30.0, 10.0], [60.0, 0.0, -30.0]]).view(3, 1, 3, 1, 1)
    clips = (views.lab_to_rgb(lab.expand(-1, 2, -1, 32, 32).flatten(0, 1)) * 255).round().byte().unflatten(0, (3, 2))
    found = prepared(clips, clusters=3, frames=2).palette
    assert torch.allclose(found[found[:, 0].argsort()], torch.tensor([[-30.0, 10], [0, -30], [40, 20]]), atol=1)
    assert torch.equal(found, prepared(clips, clusters=3, frames=2).palette)


def test_it_learns_to_point():
    """By heart: the colours of clips that move, better than by pointing at the same place."""
    clips = moving(8, step=8)
    method = prepared(clips)
    history = overfit(method, {"clips": clips}, seeds=[5] * 40)
    last = history[-1]
    assert last["loss"] < 0.6 * history[0]["loss"]
    assert last["loss"] < last["trivial"]
    assert last["accuracy"] > max(last["identity"], history[0]["accuracy"]) + 0.1


def test_a_trained_one_follows_a_mask():
    """A square that moves over a textured background, by the whole method."""
    rng = torch.Generator().manual_seed(0)
    ground = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16, generator=rng), (32, 48), mode="bilinear")[0]
    thing = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6, generator=rng), (16, 16), mode="bilinear")[0]
    frames, masks = ground.repeat(8, 1, 1, 1), torch.zeros(8, 32, 48, dtype=torch.int64)
    for t in range(8):
        frames[t, :, 8:24, 3 * t : 3 * t + 16] = 1 - thing / 2
        masks[t, 8:24, 3 * t : 3 * t + 16] = 1
    clip = (frames[None] * 255).byte()
    windows = torch.cat([clip[:, start : start + 4, :, :, left : left + 32] for start in range(5) for left in (0, 16)])
    method = prepared(windows)
    overfit(method, {"clips": windows}, seeds=range(25))
    with torch.inference_mode():
        found = method.eval().apply_to(clip[0], answers.Mask(5 * masks[0], [0, 0, 0]))["masks"]
    assert found.labels.shape == (8, 32, 48)
    assert found.labels.unique().tolist() == [0, 5]
    assert found.palette == [0, 0, 0]
    found = found.labels > 0

    def overlap(a, b):
        return ((a & b).sum() / (a | b).sum()).item()

    tracked = np.mean([overlap(found[t] == 1, masks[t] == 1) for t in range(1, 8)])
    copied = np.mean([overlap(masks[0] == 1, masks[t] == 1) for t in range(1, 8)])
    assert tracked > 1.3 * copied


def test_what_does_not_fit_is_refused():
    grey = moving()[:, :, :1]
    with pytest.raises(UsageError, match="tracking_by_colorizing needs videos in colour, but these are grey"):
        make().hide({"clips": grey})
    with pytest.raises(UsageError, match="needs videos in colour"):
        prepared(grey.expand(-1, -1, 3, -1, -1))
    for values, sentence in (
        ({"frames": 1}, "frames must be at least 2, not 1"),
        ({"clusters": 1}, "clusters must be at least 2, not 1"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            find("tracking_by_colorizing")(nets.build("fineconv", size=32, channels=1), **values)
    assert module.TrackingByColorizing.channels == 1
