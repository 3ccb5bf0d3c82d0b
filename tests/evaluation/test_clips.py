"""Evaluation on videos: features of windows, raw frames, and networks that see one crop of a clip."""

import numpy as np
import pytest
import torch

from withhold import data, evaluation, kinds, nets
from withhold.evaluation.features import plain_batches
from withhold.evaluation.supervised import train
from withhold.methods.transfer.finetune import Finetune


@pytest.fixture
def clips(photos):
    """Six videos of 6 frames in two classes, seen through windows of 4."""
    return data.load((photos[:36].reshape(6, 6, 32, 32, 3), np.arange(6) % 2), "video", frames=4)


def test_features_are_the_mean_over_a_videos_windows_and_frames(clips):
    encoder = nets.build("convnet", size=32, channels=3).eval()
    found = nets.features(encoder, clips, batch_size=8)
    for item in range(6):
        frames = torch.from_numpy(clips.whole(item).copy()).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            expected = (encoder(frames[:4]).mean(0) + encoder(frames[2:]).mean(0)) / 2
        torch.testing.assert_close(found[item], expected)


def test_pixels_are_of_a_few_frames_of_the_whole_video(clips):
    found = kinds.of(clips.kind).raw(clips)
    assert found.shape == (6, 4 * 3 * 16 * 16)
    blocks = clips.whole(2)[[0, 2, 3, 5]].reshape(4, 16, 2, 16, 2, 3).mean((2, 4)) / 255
    np.testing.assert_allclose(found[2].view(4, 3, 16, 16).permute(0, 2, 3, 1), blocks, atol=1e-6)
    single = data.load(clips.whole(0)[:1][None], "video", frames=4)
    assert kinds.of(single.kind).raw(single).shape == (1, 4 * 3 * 16 * 16)


def test_batches_hold_as_many_frames_as_they_hold_images(clips):
    assert [len(part) for part in plain_batches([clips], "cpu", most=12)] == [3]


def test_the_supervised_control_sees_one_crop_of_a_clip(photos):
    still = torch.from_numpy(photos[:8]).permute(0, 3, 1, 2)[:, None].expand(-1, 4, -1, -1, -1)
    method = Finetune(nets.build("convnet", size=32, channels=3), ("a", "b"))
    seen, _ = method.hide({"labelled": (still, torch.arange(8) % 2)})
    assert seen.shape == (8, 4, 3, 32, 32)
    assert torch.equal(seen[:, 0], seen[:, 3])
    assert not torch.equal(seen[:, 0], still[:, 0] / 255)


@pytest.mark.parametrize("learned", [False, True])
def test_networks_learn_from_labelled_clips(learned, clips):
    encoder = nets.build("conv3d", size=32, channels=3)
    learner = train(encoder, clips, learned=learned, images=48, seed=0, device=torch.device("cpu"))
    assert evaluation.scores(learner, clips).shape == (6, 2)
