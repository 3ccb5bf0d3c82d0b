"""The feeder: which samples make up which batch, on one rank and on several."""

import numpy as np
import pytest
import torch

from withhold import data
from withhold.data.images import encode
from withhold.errors import UsageError
from withhold.needs import parse


def numbered(count: int, labels=None, first: int = 0) -> data.Samples:
    """Samples whose pixels are their own number."""
    pixels = np.broadcast_to(
        np.arange(first, first + count, dtype=np.uint8)[:, None, None, None], (count, 32, 32, 1)
    ).copy()
    return data.load(pixels if labels is None else (pixels, labels))


def numbers(batch: torch.Tensor) -> list[int]:
    return batch[:, 0, 0, 0].tolist()


def feed(streams, batch_size=4, seed=0, needs=None, **options) -> data.Feeder:
    held = {name: parse(need) for name, need in (needs or dict.fromkeys(streams, "image")).items()}
    return data.Feeder(streams, held, batch_size, seed, **options)


def test_an_epoch_visits_every_sample_once_and_the_next_in_another_order():
    feeder = feed({"images": numbered(22)})
    assert feeder.steps_per_epoch == 5
    epochs = [[n for step in range(5 * e, 5 * e + 5) for n in numbers(feeder.batch(step)["images"])] for e in range(2)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)  # two are left over
    assert epochs[0] != epochs[1]
    assert set(epochs[0]) != set(epochs[1])  # and not the same two every time
    other = feed({"images": numbered(22)}, seed=1)
    assert numbers(other.batch(0)["images"]) != epochs[0][:4]


def test_a_batch_is_a_function_of_its_step():
    samples = numbered(30)
    forward = [numbers(feed({"images": samples}).batch(step)["images"]) for step in range(20)]
    feeder = feed({"images": samples})
    assert [numbers(feeder.batch(step)["images"]) for step in reversed(range(20))] == forward[::-1]
    assert [numbers(batch["images"]) for batch in feeder.iterate(7, 20)] == forward[7:]


def test_two_ranks_see_what_one_sees_with_twice_the_batch():
    streams = {"images": numbered(26), "few": numbered(5, first=100)}
    one = feed(streams, batch_size=8)
    ranks = [feed(streams, batch_size=4, rank=rank, world=2) for rank in range(2)]
    assert one.steps_per_epoch == ranks[0].steps_per_epoch == 3
    for step in range(9):
        for stream in streams:
            assert numbers(one.batch(step)[stream]) == [n for rank in ranks for n in numbers(rank.batch(step)[stream])]


def test_shorter_streams_cycle_through_orders_of_their_own():
    feeder = feed({"many": numbered(40), "few": numbered(6, first=100), "tiny": numbered(3, first=200)})
    assert feeder.steps_per_epoch == 10
    few = [n for step in range(30) for n in numbers(feeder.batch(step)["few"])]
    laps = [few[start : start + 6] for start in range(0, 120, 6)]
    assert all(sorted(lap) == list(range(100, 106)) for lap in laps)
    assert len(set(map(tuple, laps))) > 10
    tiny = [n for step in range(3) for n in numbers(feeder.batch(step)["tiny"])]
    assert sorted(tiny) == sorted([200, 201, 202] * 4)


def test_streams_of_one_length_are_shuffled_differently():
    batch = feed({"one": numbered(40), "two": numbered(40)}, batch_size=20).batch(0)
    assert numbers(batch["one"]) != numbers(batch["two"])


def test_a_labelled_stream_gives_labels_and_leaves_the_unlabelled_out():
    labels = [n % 3 if n % 2 else -1 for n in range(20)]
    samples = numbered(20, labels)
    feeder = feed(
        {"labelled": samples, "images": samples}, needs={"labelled": "image + label", "images": "image"}, batch_size=5
    )
    for batch in feeder.iterate(0, 8):
        images, targets = batch["labelled"]
        assert targets.dtype == torch.int64
        assert targets.tolist() == [n % 3 for n in numbers(images)]
        assert all(n % 2 for n in numbers(images))
        assert batch["images"].shape == (5, 1, 32, 32)


@pytest.mark.parametrize("labels", [None, [-1] * 8])
def test_missing_labels_are_refused(labels):
    with pytest.raises(
        UsageError, match=r"the .* has no labels, but the stream images needs them\. Sort it into one folder per class"
    ):
        feed({"images": numbered(8, labels)}, needs={"images": "image + label"})


@pytest.mark.parametrize(
    ("world", "sentence"),
    [
        (1, r"A batch of 9 items is not possible with 8 items\. Give a batch size from 1 to 8\."),
        (2, r"A batch of 9 items on each of 2 devices is not possible with 8 items\. Give a batch size from 1 to 4\."),
        (9, r"8 items are too few for 9 devices\. Use 8 at most\."),
    ],
)
def test_a_batch_larger_than_the_data_is_refused(world, sentence):
    with pytest.raises(UsageError, match=sentence):
        feed({"images": numbered(8)}, batch_size=9, world=world)


def test_what_is_left_out_is_named_where_nothing_else_is_left(tmp_path):
    (tmp_path / "good.png").write_bytes(encode(np.zeros((32, 32), np.uint8)))
    (tmp_path / "broken.png").write_text("no")
    with pytest.raises(
        UsageError, match=r"too few for training\. Give more items \(broken\.png is left out: not an image\)\."
    ):
        feed({"images": data.load(tmp_path)})


def test_an_abandoned_iteration_ends_its_thread():
    import threading

    before = threading.active_count()
    batches = feed({"images": numbered(40)}).iterate(0, 10)
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("resident", [True, False])
def test_on_a_gpu_the_batches_are_the_same(resident, monkeypatch):
    if not resident:
        monkeypatch.setattr("withhold.data.feeder.RESIDENT", 0)
    samples = numbered(30, [n % 3 for n in range(30)])
    streams, needs = {"labelled": samples, "images": samples}, {"labelled": "image + label", "images": "image"}
    here, there = feed(streams, needs=needs), feed(streams, needs=needs, device="cuda")
    assert bool(there.resident) == resident
    for step, batch in enumerate(there.iterate(0, 12)):
        wanted = here.batch(step)
        assert batch["images"].is_cuda
        assert batch["images"].is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch["images"].cpu(), wanted["images"])
        assert all(torch.equal(a.cpu(), b) for a, b in zip(batch["labelled"], wanted["labelled"], strict=True))
