"""Samples: batches, selections and splits."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from withhold import data
from withhold.errors import UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
LABELS = [0] * 20 + [1] * 6 + [2] * 3 + [3]


def test_a_batch_is_the_chosen_images_channels_last():
    batch = data.load(PIXELS).batch([3, 1, 3])
    assert batch.shape == (3, 3, 32, 32)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert (batch.numpy() == PIXELS[[3, 1, 3]].transpose(0, 3, 1, 2)).all()
    batch.zero_()  # a copy: the data stay as they are
    assert (data.load(PIXELS).batch(torch.tensor([3])).numpy() == PIXELS[[3]].transpose(0, 3, 1, 2)).all()


def test_choices_of_choices():
    samples = data.load((PIXELS, LABELS))
    chosen = samples.select([5, 25, 29, 0]).select(torch.tensor([2, 1]))
    assert len(chosen) == 2
    assert chosen.names == ["29", "25"]
    assert chosen.labels.tolist() == [3, 1]
    assert (chosen.array == PIXELS[[29, 25]]).all()
    assert (chosen.batch([1]).numpy() == PIXELS[[25]].transpose(0, 3, 1, 2)).all()
    assert len({samples.stamp, chosen.stamp, samples.select([29, 25, 1]).stamp}) == 3


def test_a_fingerprint_is_of_names_labels_parts_and_content(image_folder, tmp_path):
    folder, pixels = image_folder("a/1.png", "a/2.png", "b/3.png")
    first = data.load(folder)
    shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile)  # with new times
    for path in folder.rglob("*.png"):
        path.chmod(0o600)
    for same in (data.load(folder), data.load(tmp_path / "moved")):
        assert same.fingerprint == first.fingerprint
        assert same.stamp != first.stamp
    with_mask = data.load(folder)
    with_mask.give("mask", data.load(folder, channels=1))
    changed = pixels["b/3.png"].copy()
    changed[0, 0] ^= 255
    Image.fromarray(changed).save(folder / "b" / "3.png")
    (tmp_path / "moved" / "a" / "1.png").rename(tmp_path / "moved" / "a" / "0.png")
    others = [
        first, data.load(folder), data.load(tmp_path / "moved"), data.load(folder, size=20), first.select([0, 1]),
        first.with_labels(first.labels, ("x", "y")), first.with_labels(1 - first.labels, first.classes), with_mask,
    ]  # fmt: skip
    assert len({samples.fingerprint for samples in others}) == len(others)
    assert first.with_labels(first.labels, first.classes).fingerprint == first.fingerprint


def test_a_split_is_disjoint_stratified_and_repeatable():
    samples = data.load((PIXELS, LABELS))
    first, second = samples.split(0.25, seed=3)
    assert sorted([*map(int, first.names), *map(int, second.names)]) == list(range(30))
    assert np.bincount(second.labels).tolist() == [5, 2, 1]  # the class with a single image stays in the first
    assert np.bincount(first.labels).tolist() == [15, 4, 2, 1]
    assert second.names == samples.split(0.25, seed=3)[1].names
    assert second.names != samples.split(0.25, seed=4)[1].names


def test_a_split_keeps_the_items_of_an_owner_together():
    owners = [str(i // 3) for i in range(30)]
    first, second = data.load(PIXELS).split(0.2, 0, owners)
    kept, held = ({owners[int(name)] for name in part.names} for part in (first, second))
    assert not kept & held and len(held) == 2 and len(second) == 6 and len(first) == 24
    alone = data.load((PIXELS, LABELS))
    assert alone.split(0.25, 3, alone.names)[1].names == alone.split(0.25, 3)[1].names


def test_a_split_without_labels():
    first, second = data.load(PIXELS).split(0.2, seed=0)
    assert (len(first), len(second)) == (24, 6)


def test_the_samples_that_have_a_label():
    assert data.load((PIXELS, LABELS)).labelled("the probe").names == [str(row) for row in range(30)]
    samples = data.load((PIXELS, [-1, 1] * 15)).labelled("the probe")
    assert samples.names == [str(row) for row in range(1, 30, 2)]
    assert (samples.labels == 0).all()
    assert samples.classes == ("1",)


def test_impossible_splits():
    with pytest.raises(UsageError, match=r"A fraction of 1\.5 cannot be split off\. Give one between 0 and 1"):
        data.load(PIXELS).split(1.5, seed=0)
    with pytest.raises(UsageError, match=r"Every class in .* has only one item"):
        data.load((PIXELS[:3], [0, 1, 2])).split(0.5, seed=0)
    with pytest.raises(UsageError, match="has 1 item, but splitting needs"):
        data.load(PIXELS[:1]).split(0.5, seed=0)
