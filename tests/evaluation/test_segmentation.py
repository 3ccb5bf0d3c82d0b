"""Segmentation: metrics and baselines."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from withhold import data, evaluation, nets
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.evaluation.protocols import segmentation
from withhold.methods import build, find

NAMES = ("ground", "thing", "sky")


def scenes(count, seed, classes=NAMES, size=32):
    """Bright above and dark below, which is ground and sky; a red square is a thing, and a part is not known."""
    rng = np.random.default_rng(seed)
    images, masks = rng.integers(0, 60, (count, size, size, 3), np.uint8), np.zeros((count, size, size, 1), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        horizon, left = rng.integers(8, 20, 2)
        image[:horizon] += 150
        mask[:horizon] = 2
        image[horizon : horizon + 8, left : left + 8, 0] += 150
        mask[horizon : horizon + 8, left : left + 8] = 1
        mask[:, :2] = 255
    samples = data.load((images, np.zeros(count, dtype=np.int64)), size=size)
    samples.give("mask", Samples(masks, np.arange(count).astype(str), classes=classes))
    return samples


def test_the_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, (2, 5, 9, 9))
    truth[rng.random(truth.shape) < 0.2] = 255
    known = truth != 255
    iou, accuracy = segmentation.rows(said, truth, ("a", "b", "c", "d", "in no pixel"))
    assert iou["value"] == pytest.approx(jaccard_score(truth[known], said[known], average="macro"))
    assert list(iou["classes"]) == ["a", "b", "c", "d"]
    np.testing.assert_allclose(list(iou["classes"].values()), jaccard_score(truth[known], said[known], average=None))
    assert accuracy["value"] == pytest.approx(accuracy_score(truth[known], said[known]))
    assert sum(segmentation.confusion(said, truth, 4).ravel()) == known.sum()


@pytest.fixture
def rows():
    torch.manual_seed(0)
    encoder = nets.build("convnet", size=32, channels=3)
    method = build(find("segmentation"), encoder, {}, {"classes": NAMES})
    return evaluation.evaluate(
        encoder, scenes(40, 0), scenes(12, 1), ("segmentation",), controls={"untrained": encoder},
        methods={"trained": method, "untrained": method}, budget=600, learned=[],
    )  # fmt: skip


def test_masks_of_a_method_and_of_maps_stand_beside_the_controls(rows):
    found = {(row["encoder"], row.get("by"), row["metric"]): row["value"] for row in rows}
    by = [("trained", "masks"), ("trained", "maps"), ("untrained", "maps"), ("majority", None), ("colour", None)]
    assert list(found) == [(*who, metric) for who in by for metric in ("mean IoU", "pixel accuracy")]
    assert found["trained", "maps", "mean IoU"] > 0.6 > found["trained", "masks", "mean IoU"]
    assert found["untrained", "maps", "mean IoU"] > 0.6
    assert found["colour", None, "pixel accuracy"] > 0.9 > found["majority", None, "pixel accuracy"] > 0.3
    assert all("low" not in row for row in rows), "pixels of an image are no independent trials"


def test_the_majority_is_the_class_of_most_pixels():
    train, test = scenes(20, 0), scenes(5, 1)
    said = segmentation.majority(train, test)
    counts = [(train.parts["mask"].array == number).sum() for number in range(3)]
    assert said.shape == (5, 32, 32)
    assert set(said.ravel()) == {int(np.argmax(counts))}


def test_colours_of_one_class_tell_no_more_than_the_majority():
    train, test = scenes(3, 0), scenes(2, 1)
    masks = train.parts["mask"].values
    masks[masks != 255] = 2
    assert (segmentation.by_colour(train, test) == 2).all()


def test_classes_go_by_their_names(make_task):
    train, test = scenes(5, 0), scenes(5, 1, ("sky", "thing", "ground"))
    turned = segmentation.masks_of(test, train.parts["mask"].classes)
    assert np.array_equal(turned == 0, test.parts["mask"].array[..., 0] == 2)
    with pytest.raises(UsageError, match="have the class 'tree', but the training masks do not"):
        segmentation.masks_of(scenes(5, 1, ("ground", "tree", "sky")), NAMES)


def test_masks_that_name_nothing_are_refused():
    test = scenes(3, 0)
    test.parts["mask"].values[:] = 255
    with pytest.raises(UsageError, match="have no pixel with a class"):
        segmentation.masks_of(test, NAMES)
