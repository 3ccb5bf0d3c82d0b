import logging

import numpy as np
import pytest
import torch

from withhold import data, evaluation
from withhold.errors import UsageError
from withhold.evaluation.protocols import episodes


def by_hand(features, labels, shots, queries, seed):
    """Mean and deviation of the accuracy over 400 episodes, spelled out in numpy."""
    rng, right = np.random.default_rng(seed), []
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    for _ in range(400):
        classes, found = rng.choice(len(set(labels)), 5, replace=False), []
        drawn = [rng.permutation(np.flatnonzero(labels == c))[: shots + queries] for c in classes]
        prototypes = [features[rows[:shots]].mean(0) for rows in drawn]
        for number, rows in enumerate(drawn):
            for row in rows[shots:]:
                cosines = [features[row] @ p / np.linalg.norm(p) for p in prototypes]
                found.append(np.argmax(cosines) == number)
        right.append(np.mean(found))
    return np.mean(right), np.std(right, ddof=1)


def test_it_is_what_numpy_says_of_other_episodes(digits, make_task):
    """The same distribution, drawn otherwise: means agree within what their standard errors allow."""
    task = make_task(*digits)
    features, labels = task.queries.numpy().astype(np.float64), task.truth.numpy()
    rows = episodes.measure(task)
    for row in rows:
        mean, deviation = by_hand(features, labels, row["shots"], row["n_queries"], seed=1)
        assert row["standard_error"] == pytest.approx(deviation / 1000**0.5, rel=0.15)
        assert abs(row["value"] - mean) < 4 * deviation * (1 / 400 + 1 / 1000) ** 0.5
    assert [row["shots"] for row in rows] == [1, 5]


def test_the_accuracy_of_an_episode_is_that_of_a_loop():
    rng = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(7, 3, 6, 4, generator=rng), dim=3)
    for shots in (1, 2):
        for episode, said in zip(x.double().numpy(), episodes.accuracies(x, shots).tolist(), strict=True):
            means = episode[:, :shots].mean(1)
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            found = [np.argmax(means @ query) == c for c in range(3) for query in episode[c, shots:]]
            assert said == pytest.approx(np.mean(found), abs=1e-6)


def test_every_row_is_asked_the_same_and_has_an_interval_of_its_own(encoder, digits):
    rows = evaluation.evaluate(encoder, *digits, ("episodes",), controls={"again": encoder}, learned=[])
    values = {(row["encoder"], row["shots"]): row for row in rows}
    for shots in (1, 5):
        trained, again, pixels = (values[name, shots] for name in ("trained", "again", "pixels"))
        assert trained["value"] == again["value"] != pixels["value"]
        for row in (trained, pixels):
            assert row["high"] - row["value"] == pytest.approx(1.96 * row["standard_error"])
            assert row["value"] - row["low"] == pytest.approx(1.96 * row["standard_error"])
            assert row["chance"] == 0.2


def test_features_of_one_length_and_chunks_change_nothing(digits, make_task, monkeypatch):
    task = make_task(*digits)
    rows = episodes.measure(task)
    longer = make_task(*digits)
    longer.__dict__["queries"] = task.queries * torch.rand(len(task.queries), 1)
    assert [row["value"] for row in episodes.measure(longer)] == pytest.approx([row["value"] for row in rows], abs=1e-3)
    monkeypatch.setattr(episodes, "CHUNK", 1)
    assert [row["value"] for row in episodes.measure(task)] == pytest.approx([row["value"] for row in rows])


def test_classes_need_not_be_those_of_the_training(encoder, digits):
    train, test = digits
    low, high = train.select(np.flatnonzero(train.labels < 5)), test.select(np.flatnonzero(test.labels >= 5))
    assert all(row["low"] > row["chance"] for row in evaluation.evaluate(encoder, low, high, ("episodes",)))


def zoo(*sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 1), dtype=np.uint8)
    return data.load((images, labels), size=8)


@pytest.mark.parametrize("row", ["trained", "pretrained"])
def test_few_items_give_fewer_queries_which_is_said_once(row, encoder, make_task, caplog):
    samples = zoo(30, 30, 9, 8, 8, 3)
    with caplog.at_level(logging.WARNING, "withhold"):
        rows = evaluation.evaluate(encoder, samples, samples, ("episodes",), controls={"untrained": encoder}, row=row)
    assert [(row["shots"], row["n_queries"]) for row in rows] == [(1, 7), (5, 3)] * 3
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "episodes with 1 shot per class have 7 items per class as queries, not 15",
        "episodes with 5 shots per class have 3 items per class as queries, not 15",
    ]
    few = zoo(4, 4, 4, 4, 4)
    assert [row["shots"] for row in episodes.measure(make_task(few, few))] == [1]


def test_four_classes_are_too_few(make_task):
    samples = zoo(9, 9, 9, 9, 1)
    with pytest.raises(UsageError, match=r"5 classes with at least two items, but .* has 4"):
        episodes.measure(make_task(samples, samples))
