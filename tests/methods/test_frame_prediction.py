"""Frame prediction: targets and inputs of each decoder, and the loss of a still image."""

import math

import pytest
import torch

from tests.methods.toys import overfit
from withhold import nets
from withhold.errors import UsageError
from withhold.methods import build, find
from withhold.nets.recurrent import LSTM


def make(size=32, channels=1, **values):
    torch.manual_seed(0)
    return build(find("frame_prediction"), nets.build("convnet-lstm", size=size, channels=channels), values)


def noise(n=3, t=20, channels=1, size=32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, t, channels, size, size), generator=rng, dtype=torch.uint8)


def moving(n=8, t=20, size=32):
    """A square that moves to the right and comes in again at the left."""
    base = torch.zeros(size, size, dtype=torch.uint8)
    base[8:18, 4:14] = 255
    return torch.stack([torch.stack([base.roll(2 * i + 3 * k, 1) for i in range(t)]) for k in range(n)])[:, :, None]


def test_the_future_is_drawn_in_order_and_the_past_backwards():
    clips = noise()
    (past, given), withheld = make(flip=0.0).hide({"videos": clips})
    assert given is None
    torch.testing.assert_close(past, clips[:, :10] / 255)
    torch.testing.assert_close(withheld["future"], clips[:, 10:] / 255)
    for i in range(10):
        torch.testing.assert_close(withheld["past"][:, i], clips[:, 9 - i] / 255)
    assert set(make(predicts="future").hide({"videos": clips})[1]) == {"future"}
    assert set(make(predicts="past").hide({"videos": clips})[1]) == {"past"}


def test_a_mirrored_clip_is_mirrored_throughout():
    clips = noise()
    (past, _), withheld = make(flip=1.0).hide({"videos": clips})
    torch.testing.assert_close(torch.cat([past, withheld["future"]], 1), clips.flip(4) / 255)


def test_the_loss_is_the_cross_entropy_of_pixels_summed_over_a_frame():
    method = make(size=16, channels=1)
    true = {branch: torch.rand(2, 3, 1, 4, 4) for branch in ("future", "past")}
    said = {branch: torch.randn(2, 3, 1, 4, 4) for branch in ("future", "past")}
    expected = 0.0
    for branch in true:
        for x, t in zip(said[branch].flatten().tolist(), true[branch].flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-x))
            expected -= (t * math.log(p) + (1 - t) * math.log(1 - p)) / 6
    found = method.loss(said, true)
    assert found["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert found["loss"].item() == pytest.approx((found["future"] + found["past"]).item())


def test_trivial_is_the_loss_of_the_best_still_image():
    method = make()
    _, withheld = method.hide({"videos": noise()})
    image = {branch: frames.mean((0, 1)).logit(1e-6).requires_grad_() for branch, frames in withheld.items()}
    still = {branch: image[branch].expand_as(frames) for branch, frames in withheld.items()}
    terms = method.loss(still, withheld)
    terms["loss"].backward()
    assert terms["loss"].item() == pytest.approx(terms["trivial"].item(), rel=1e-5)
    assert all(pixels.grad.abs().max() < 1e-3 for pixels in image.values()), "convex, and flat at its least"
    assert terms["trivial"] < method.loss({b: torch.zeros_like(f) for b, f in withheld.items()}, withheld)["loss"]


@pytest.mark.parametrize("conditional", [False, True])
def test_nothing_of_the_future_reaches_a_prediction_after_training(conditional):
    method = make(conditional=conditional, flip=0.0).eval()
    first, second = noise(2), noise(2)
    second[:, 10:] = 255 - second[:, 10:]
    with torch.no_grad():
        said = [method.predict(method.hide({"videos": clips})[0]) for clips in (first, second)]
        other = method.predict(method.hide({"videos": 255 - first})[0])
    for branch in ("future", "past"):
        assert torch.equal(said[0][branch], said[1][branch])
        assert not torch.equal(said[0][branch], other[branch])


def test_in_training_a_conditioned_frame_sees_those_before_it_and_no_other():
    method = make(conditional=True, flip=0.0)
    clips = noise(2)
    for norm in (part for part in method.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        norm.eval()  # or a batch's frames would hear from each other
    (past, given), _ = method.hide({"videos": clips})
    given = given.clone().requires_grad_()
    said = method.predict((past, given))
    said["future"][:, 4].sum().backward(retain_graph=True)
    reached = given.grad.abs().sum((0, 2, 3, 4)) > 0
    assert reached.tolist() == [True] * 4 + [False] * 6
    given.grad = None
    said["past"].sum().backward()
    assert given.grad is None, "the past is given back from the state alone"


def test_after_training_a_conditioned_frame_follows_from_what_was_said():
    method = make(conditional=True, flip=0.0).eval()
    (past, _), _ = method.hide({"videos": noise(2)})
    with torch.no_grad():
        said = method.predict((past, None))["future"]
        told = method.predict((past, said.sigmoid()))["future"]
    torch.testing.assert_close(said, told, atol=1e-4, rtol=1e-4)


def test_an_unconditioned_decoder_hears_of_the_clip_through_the_state_only():
    method = make().eval()
    (past, _), _ = method.hide({"videos": noise(2)})
    state = method.encoder.read(past)
    with torch.no_grad():
        swapped = method.unroll("future", tuple(part.flip(1) for part in state), past, None)
        torch.testing.assert_close(swapped.flip(0), method.predict((past, None))["future"], atol=1e-5, rtol=1e-4)


def test_features_are_the_last_state():
    encoder = nets.build("convnet-lstm", size=32, channels=1).eval()
    clips = torch.rand(2, 7, 1, 32, 32)
    with torch.no_grad():
        codes, hidden = encoder.codes(clips), None
        cell = torch.nn.LSTMCell(encoder.code, encoder.dim // 2)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in encoder.lstm.state_dict().items()})
        for step in range(7):
            hidden = cell(codes[:, step], hidden)
        torch.testing.assert_close(encoder(clips), torch.cat(hidden, 1), atol=1e-5, rtol=1e-4)
        assert encoder.maps(clips).shape == (2, encoder.dim, 1, 1, 1)
        assert (encoder(clips) - encoder(clips.flip(1))).abs().max() > 1e-4


def test_the_recurrence_is_float32_under_autocast():
    lstm = LSTM(4, 5, batch_first=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = lstm(torch.rand(2, 3, 4).bfloat16())
    assert found.dtype == torch.float32


def test_a_movement_is_learned_by_heart():
    method = make(flip=0.0)
    terms = overfit(method, {"videos": moving()}, seeds=[0] * 60, lr=3e-3)[-1]
    assert terms["loss"] < 0.8 * terms["trivial"]


def test_it_shows_what_may_follow_and_what_it_remembers():
    method = make().eval()
    clip = moving(1, t=26)
    with torch.no_grad():
        shown = method.apply_to(clip[0])
    assert shown["predicted"].frames.shape == (20, 1, 32, 32)
    torch.testing.assert_close(shown["predicted"].frames[:10], clip[0, -10:] / 255)
    assert shown["remembered"].frames.shape == (10, 1, 32, 32)
    assert shown["remembered"].fps == 10
    assert make(predicts="future").apply_to(clip[0, :4])["predicted"].frames.shape == (8, 1, 32, 32)


def test_values_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="frames must be at least 2 and a multiple of 2, not 5"):
        make(frames=5)
    with pytest.raises(UsageError, match="takes an encoder of the class Recurrent, not Conv3d"):
        build(find("frame_prediction"), nets.build("conv3d", size=32, channels=1), {})
    with pytest.raises(UsageError, match=r"takes frames whose size is a multiple of 4, not 30\. Use --size 28"):
        nets.build("convnet-lstm", size=30, channels=1)


@pytest.mark.parametrize(("data", "channels"), [(1, 3), (3, 1)])
def test_clips_get_the_channels_of_the_encoder(data, channels):
    method = build(find("frame_prediction"), nets.build("convnet-lstm", size=32, channels=channels), {"frames": 4})
    clips = moving(2, t=4).expand(-1, -1, data, -1, -1)
    assert method({"videos": clips})["loss"].isfinite()
    visible, withheld = method.hide({"videos": clips})
    assert method.picture(visible, withheld, method.predict(visible))["said"].shape == withheld["future"].shape
    with torch.no_grad():
        assert method.eval().apply_to(clips[0])["predicted"].frames.shape[1] == channels
