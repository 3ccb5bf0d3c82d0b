"""Anomaly detection: the anomalous classes, the distance to normal samples, and a method's own scores."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from withhold import evaluation
from withhold.errors import UsageError
from withhold.evaluation.protocols import anomaly
from withhold.methods import Method


class Bright(Method):
    """It finds an image the stranger the brighter it is."""

    def says(self):
        return {"anomaly": lambda images: images.mean((1, 2, 3))}


def test_the_distance_is_the_mean_squared_one_to_two_neighbours():
    bank, queries = torch.randn(50, 7), torch.randn(20, 7)
    near, _ = NearestNeighbors(n_neighbors=2).fit(bank).kneighbors(queries)
    torch.testing.assert_close(
        anomaly.distances(bank, queries).numpy(), (near**2).mean(1).astype(np.float32), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(anomaly.distances(bank[:1], queries), (queries - bank[0]).square().sum(1))


def test_anomalies_are_of_classes_that_no_training_item_has(make_samples, encoder):
    """Classes are matched by name; every encoder is measured by its features, and the method by what it says."""
    train = make_samples([0] * 30, classes=("good",))
    test = make_samples([1] * 20 + [0] * 9 + [2] * 3, classes=("bent", "good", "cut"))
    strange = [False] * 20 + [True] * 12
    rows = evaluation.evaluate(
        encoder, train, test, ("anomaly",), controls={"untrained": encoder}, methods={"trained": Bright(encoder)}
    )
    assert [(row["encoder"], row["by"], row["metric"]) for row in rows] == [
        (who, by, metric)
        for who, by in (("trained", "k-NN"), ("trained", "own"), ("untrained", "k-NN"), ("pixels", "k-NN"))
        for metric in ("AUROC", "AP")
    ]
    assert {row["chance"] for row in rows} == {0.5, 12 / 32}
    light = test.array.mean((1, 2, 3))
    assert rows[2]["value"] == pytest.approx(roc_auc_score(strange, light))
    assert rows[3]["value"] == pytest.approx(average_precision_score(strange, light))
    known, asked = (part.array.reshape(len(part), -1) / 255 for part in (train, test))
    near, _ = NearestNeighbors(n_neighbors=2).fit(known).kneighbors(asked)
    assert rows[-2]["value"] == pytest.approx(roc_auc_score(strange, (near**2).mean(1)), abs=0.01)


@pytest.mark.parametrize(("labels", "count"), [([0] * 6, "none"), ([1, 2] * 3, "all")])
def test_there_must_be_both_normal_items_and_others(make_samples, make_task, labels, count):
    with pytest.raises(UsageError, match=rf"{count} are of other classes\. Give a folder with train/good"):
        anomaly.measure(make_task(make_samples([0] * 6), make_samples(labels)))
