import math

import numpy as np
import pytest
import torch

from withhold import data, evaluation, nets
from withhold.contract.tiny import RATE, sounds, videos
from withhold.errors import UsageError
from withhold.evaluation.protocols.crossmodal import measure, ranked
from withhold.evaluation.task import Task


def by_hand(similarity, relevant):
    """nDCG@30 and the recalls, query by query."""
    scores, first, tenth = [], [], []
    for row, right in zip(similarity.tolist(), relevant.tolist(), strict=True):
        if not any(right):
            continue
        order = sorted(range(len(row)), key=lambda i: -row[i])[:30]
        gained = sum(right[i] / math.log2(rank + 2) for rank, i in enumerate(order))
        scores.append(gained / sum(1 / math.log2(rank + 2) for rank in range(min(30, sum(right)))))
        first.append(right[order[0]])
        tenth.append(any(right[i] for i in order[:10]))
    return np.mean(scores), np.mean(first), np.mean(tenth)


@pytest.mark.parametrize("count", [8, 25, 80])
def test_rankings_are_worth_what_counting_says(count):
    rng = torch.Generator().manual_seed(count)
    similarity = torch.randn(12, count, generator=rng)
    relevant = torch.rand(12, count, generator=rng) < 0.2
    relevant[0] = False  # asks for what is not there
    found = ranked(similarity, relevant)
    assert (found["value"], found["recall_at_1"], found["recall_at_10"]) == pytest.approx(
        by_hand(similarity, relevant), abs=1e-9
    )


def test_chance_is_what_random_orders_are_worth():
    rng = torch.Generator().manual_seed(0)
    classes = torch.tensor([0] * 6 + [1] * 12 + [2] * 32)
    relevant = classes[:, None] == classes
    tries = [ranked(torch.rand(50, 50, generator=rng), relevant) for _ in range(300)]
    for name, chance in (("value", "chance"), ("recall_at_1", "chance_at_1"), ("recall_at_10", "chance_at_10")):
        assert np.mean([found[name] for found in tries]) == pytest.approx(tries[0][chance], abs=0.02)
    balanced = ranked(torch.rand(500, 500, generator=rng), torch.eye(10, dtype=torch.bool).repeat(50, 50))
    assert balanced["chance"] == pytest.approx(0.1)


class Oracle(nets.AudioVisualEncoder):
    """What is loud or bright is one class; pictures lie at an angle to the sounds."""

    def __init__(self):
        super().__init__(nets.build("convnet", size=32, channels=3), nets.build("audio-cnn", rate=RATE))

    def forward(self, items):
        level = items.flatten(1).mean(1) if items.ndim == 5 else items.abs().mean(1) * 10
        return torch.stack([torch.cos(level), torch.sin(level)], 1)


def pair_of_levels():
    """Two classes of 10 items each: brightness and loudness are 0.2 or 0.8, a little jittered."""
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    level = 0.2 + 0.6 * labels + rng.uniform(-0.1, 0.1, (2, 20))
    spans, rows = np.stack([np.arange(20), np.arange(1, 21)], 1), np.arange(20)
    about = {"names": rows.astype(str), "labels": labels, "classes": ("a", "b"), "source": "levels"}
    frames = np.broadcast_to(np.round(255 * level[0])[:, None, None, None], (20, 8, 8, 3)).astype(np.uint8)
    waves = np.repeat(np.round(3276.8 * level[1]), 10).astype(np.int16)
    return data.Joined(
        data.Series(frames, spans, 1, "video", 1.0, rows, **about),
        data.Series(waves, 10 * spans, 10, "audio", RATE, rows, **about),
    )


def make_task(encoder, pairs):
    return Task(encoder, pairs, pairs, seed=0, device=torch.device("cpu"), budget=1)


def test_it_asks_all_four_ways_and_finds_what_there_is():
    rows = measure(make_task(Oracle(), pair_of_levels()))
    assert [row["direction"] for row in rows] == [
        "picture to picture", "picture to sound", "sound to picture", "sound to sound",
    ]  # fmt: skip
    for row in rows:
        assert row["value"] == pytest.approx(1)
        assert row["recall_at_1"] == 1
        among, right = (19, 9) if row["direction"] in ("picture to picture", "sound to sound") else (20, 10)
        assert row["chance_at_1"] == pytest.approx(right / among)


def test_halves_of_one_sort_are_not_asked_for_where_each_item_is_alone_in_its_class():
    rows = measure(make_task(Oracle(), pair_of_levels().select([0, 1])))
    assert [row["direction"] for row in rows] == ["picture to sound", "sound to picture"]


def test_an_encoder_that_says_nothing_is_worth_chance():
    class Constant(Oracle):
        def forward(self, items):
            return torch.ones(len(items), 2)

    pairs = pair_of_levels()
    many = pairs.select(np.tile(np.arange(20), 10))
    for row in measure(make_task(Constant(), many)):
        assert row["value"] == pytest.approx(row["chance"], abs=0.1)


def test_rows_stand_beside_the_untrained_encoder_and_what_is_no_pair_is_refused(photo_samples):
    pairs = data.Joined(videos(1, 1.0), sounds(1.0)).select(range(24))
    encoder = nets.build("audiovisual", size=32, channels=3, rate=RATE)
    rows = evaluation.evaluate(encoder, pairs, pairs, ("crossmodal",), controls={"untrained": encoder})
    assert [row["encoder"] for row in rows] == ["trained"] * 4 + ["untrained"] * 4
    with pytest.raises(UsageError, match=r"crossmodal takes video \+ audio, not audio"):
        evaluation.evaluate(encoder, pairs.of("audio"), pairs.of("audio"), ("crossmodal",))
