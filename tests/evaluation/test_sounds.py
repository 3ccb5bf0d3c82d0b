"""Sounds, and pairs of images and sounds, are evaluated like images."""

import numpy as np
import pytest
import torch

from withhold import data, evaluation, kinds, nets, views
from withhold.contract.tiny import RATE, sounds, videos
from withhold.evaluation.supervised import train
from withhold.methods.transfer.finetune import Finetune


@pytest.fixture(scope="module")
def tones():
    """128 noisy tones of one or two seconds, low and high."""
    return sounds(1.0)


def test_the_raw_control_is_the_mean_and_deviation_of_each_band(tones):
    found = kinds.of(tones.kind).raw(tones)
    assert found.shape == (128, 80)
    for item in (1, 3):  # of one window, and of two
        windows = tones.whole(item).reshape(-1, RATE)
        assert len(windows) == 1 + (item % 3 == 0)
        expected = []
        for window in windows:
            bands = (views.log_mel(torch.from_numpy(window)[None] / 32768, RATE)[0, 0].numpy() + 13) / 4
            expected.append(np.concatenate([bands.mean(1), bands.std(1, ddof=1)]))
        assert found[item].numpy() == pytest.approx(np.mean(expected, axis=0), abs=1e-4)


def test_a_table_names_the_spectrogram_as_the_control(tones):
    encoder = nets.build("audio-cnn", rate=RATE)
    train_part, test = tones.select(range(40)), tones.select(range(40, 64))
    rows = evaluation.evaluate(encoder, train_part, test, ("knn",), controls={"untrained": encoder})
    assert [row["encoder"] for row in rows] == ["trained", "untrained", "spectrogram"]
    assert rows[-1]["value"] > 0.9, "low and high tones differ in their bands"


def test_what_has_no_map_is_found_by_its_features(tones):
    encoder = nets.build("audio-cnn", rate=RATE)
    rows = evaluation.evaluate(encoder, tones.select(range(40)), tones.select(range(40, 64)), ("retrieval",))
    assert [(row["encoder"], row["pooling"], row["whitened"]) for row in rows] == [
        (name, "embedding", white) for name in ("trained", "spectrogram") for white in (False, True)
    ]
    assert rows[2]["value"] > 0.8, "low tones are nearer to low ones"


@pytest.mark.parametrize("learned", [False, True])
def test_a_network_learns_sounds_with_their_labels(learned, tones):
    encoder = nets.build("audio-cnn", rate=RATE)
    learner = train(encoder, tones.select(range(64)), learned=learned, images=640, seed=0, device=torch.device("cpu"))
    rest = tones.select(range(64, 128))
    nets.refresh_statistics(learner.encoder, evaluation.plain_batches([rest], "cpu"))
    said = evaluation.scores(learner, rest).argmax(1)
    assert (said.numpy() == rest.labels).mean() > 0.9


def test_supervision_sees_each_sound_changed_each_time(tones):
    learner = Finetune(nets.build("audio-cnn", rate=RATE), ("0", "1"))
    batch = {"labelled": (tones.batch(range(8)), torch.zeros(8, dtype=torch.int64))}
    first, targets = learner.hide(batch)
    second, _ = learner.hide(batch)
    assert first.shape == second.shape == (8, 1, 40, 101)
    assert (first - second).abs().flatten(1).amax(1).min() > 0.1
    assert (first == 0).float().mean() > 0.02, "masks are the mean"
    assert torch.equal(targets, torch.tensor([[1.0, 0.0]]).expand(8, 2))


def test_features_of_pairs_come_from_both(photo_samples):
    pairs = data.Joined(videos(1, 1.0), sounds(1.0))
    encoder = nets.build("audiovisual", size=32, channels=3, rate=RATE)
    nets.refresh_statistics(encoder, evaluation.plain_batches([pairs], "cpu"))
    both, seen, heard = (
        nets.features(encoder, part).numpy() for part in (pairs.select([1, 2]), pairs.of("video"), pairs.of("audio"))
    )
    assert both.shape == (2, 128)
    mean = seen[1] + heard[1]  # one window of each
    assert both[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)
    seen = pairs.of("video")
    assert kinds.of(pairs.kind).raw(pairs).shape == (128, kinds.of("video").raw(seen).shape[1] + 80)
