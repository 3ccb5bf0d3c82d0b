"""Keypoints: the regression, its error, and the points that a method discovers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from torch import nn

from withhold import data, evaluation
from withhold.data.targets import Target
from withhold.errors import UsageError
from withhold.evaluation.protocols import keypoints
from withhold.methods import Method


def spots(count, seed, size=16):
    """Images with one white pixel, and three points: that, three to its right, and five below, in pixels."""
    rng = np.random.default_rng(seed)
    places = rng.integers(2, size - 8, (count, 2))
    images = np.zeros((count, size, size, 1), dtype=np.uint8)
    images[np.arange(count), places[:, 1], places[:, 0]] = 255
    samples = data.load((images, np.zeros(count, dtype=np.int64)), size=size)
    points = places[:, None] + np.array([[0, 0], [3, 0], [0, 5]]) + 0.5
    samples.give("points", Target(points.astype(np.float32)))
    return samples


class Finds(Method):
    """It says where the white pixel is."""

    def says(self):
        return {"points": self.points}

    def points(self, images):
        size = images.shape[-1]
        place = images.flatten(1).argmax(1)
        return torch.stack([place % size, place // size], 1)[:, None] / size


def test_the_error_is_a_share_of_the_diagonal_of_what_is_marked():
    true = np.array([[[0, 0], [3, 4], [1, 1]], [[0, 0], [np.nan, np.nan], [0, 2]]])
    said = true + np.array([[[0, 0], [0, 1], [0, 0]], [[1, 0], [9, 9], [0, 0]]])
    assert keypoints.error(said, true) == pytest.approx((0 + 1 / 5 + 0 + 1 / 2 + 0) / 5)


def test_places_are_regressed_one_by_one_from_the_items_that_have_them():
    rng = np.random.default_rng(0)
    bank, queries, places = rng.normal(size=(40, 5)), rng.normal(size=(6, 5)), rng.normal(size=(40, 2, 2))
    places[::3, 1] = np.nan
    found = keypoints.regress(bank, queries, places)
    for place in (0, 1):
        kept = np.isfinite(places[:, place, 0])
        mean, deviation = bank[kept].mean(0), bank[kept].std(0)
        learned = RidgeCV(keypoints.STRENGTHS).fit((bank[kept] - mean) / deviation, places[kept, place])
        np.testing.assert_allclose(found[:, place], learned.predict((queries - mean) / deviation), rtol=1e-6)


def test_points_that_a_method_finds_stand_beside_features_and_the_mean(encoder):
    train, test = spots(120, 0), spots(40, 1)
    rows = evaluation.evaluate(
        encoder, train, test, ("keypoints",), controls={"untrained": encoder}, methods={"trained": Finds(encoder)}
    )
    assert [(row["encoder"], row["by"]) for row in rows] == [
        ("trained", "features"), ("trained", "points"), ("untrained", "features"), ("pixels", "features")
    ]  # fmt: skip
    assert rows[1]["value"] < 1e-3
    known, true = (part.parts["points"].values for part in (train, test))
    mean = np.linalg.norm(known.mean(0) - true, axis=2).mean() / 34**0.5
    assert {round(row["chance"], 5) for row in rows} == {round(float(mean), 5)}
    assert rows[1]["n_unlabelled"] == 0


def test_both_parts_must_mark_the_same_points(make_task):
    train, test = spots(5, 0), spots(5, 1)
    test.give("points", Target(test.parts["points"].values[:, :2]))
    with pytest.raises(UsageError, match=r"marks 3 points in an image, but .* marks 2\. Mark the same points in both"):
        keypoints.measure(make_task(train, test, nn.Identity()))


def test_items_with_fewer_than_two_marks_count_for_nothing():
    nan = [np.nan, np.nan]
    true = np.array([[[0, 0], [3, 4]], [[5, 5], nan], [nan, nan], [[7, 7], [7, 7]]], dtype=float)
    with np.errstate(all="raise"):
        assert keypoints.error(np.nan_to_num(true) + np.array([1, 0]), true) == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("where", "kept", "sentence"),
    [
        ("train", [0, 1], "spots has a point that fewer than two items mark"),
        ("test", [0], "marks fewer than two different points in every"),
    ],
)
def test_marks_that_are_too_few_are_named(encoder, where, kept, sentence):
    parts = {"train": spots(20, 0), "test": spots(10, 1)}
    for part in parts.values():
        part.source = "spots"
    places = parts[where].parts["points"].values
    places[:, [k for k in range(3) if k not in kept]] = np.nan
    with pytest.raises(UsageError, match=sentence):
        evaluation.evaluate(encoder, *parts.values(), ("keypoints",))
    places[:] = places[:, kept[:1]]
    places[1:, kept[0]] = np.nan if where == "train" else places[1:, kept[0]]
    with pytest.raises(UsageError, match=sentence):
        evaluation.evaluate(encoder, *parts.values(), ("keypoints",))
