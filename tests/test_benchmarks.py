"""Smoke tests of benchmarks that use internals of the package, so that changes there do not break them unnoticed."""

import sys
from collections import Counter

import numpy as np
import pytest
import torch

import withhold
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import claim
import memory
from claims.few import NOISY, WEAK
from claims.rows import CLAIMS, ROWS

TRIED = {
    "encoders/digits-rotation-convnet-40epochs-seed0": "trained",
    "encoders/digits-untrained-convnet-seed0": "untrained",
    "retrieval/pacs-simclr-convnet-40epochs-seed0": "trained",
    "fewlabels/imdb-100-tfidf-seed0": "tf-idf of words",
    "frames/moving_mnist-frame_prediction-convnet-lstm-batch_size=16-predicts=future-5epochs-seed0": "network",
}


def test_memory_is_measured_over_what_the_cache_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("WITHHOLD_CACHE", str(tmp_path))
    memory.build(2000)
    found = memory.walk(2000)
    assert found["images"] == 2000
    assert found["images_per_second"] > 0


def test_claims_have_names_of_their_own_and_every_result_in_a_folder_is_a_rows():
    assert max(Counter(row.name for row in CLAIMS).values()) == 1
    results = claim.RESULTS
    found = {path.relative_to(results).with_suffix("").as_posix() for path in results.glob("*/*.json")}
    assert found <= set(ROWS)


@pytest.mark.parametrize("family", [WEAK, NOISY])
def test_one_row_of_labels_alone_is_that_of_each_method_of_a_family(family, photos, tmp_path):
    """Bit for bit, over the same epochs: what has no labels then reaches nothing."""
    labels, told = np.arange(16) % 2, {"weight": 0.0, "encoder": "convnet", "size": 16, "batch_size": 8, "epochs": 1}
    seen, others, asked = photos[:16], photos[16:40], torch.rand(4, 3, 16, 16)
    found = [
        withhold.train(name, (seen, labels), others, out=tmp_path / name, no_report=True, **told) for name in family
    ]
    assert {run.digest for run in found} == {found[0].digest}
    first, *rest = (run.method.classify(asked) for run in found)
    assert all(torch.equal(first, scores) for scores in rest)
    rows = [row for row in CLAIMS if row.group == "fewlabels" and row.method in family and row.controls]
    for row in rows:
        alone = row.controls[0]
        assert alone.method in (family[0], row.method) and alone.settings["weight"] == 0
        assert (alone.data, alone.encoder, alone.epochs, alone.seed) == (row.data, row.encoder, row.epochs, row.seed)


@pytest.mark.parametrize("name", TRIED)
def test_claims_and_controls_of_each_kind_can_be_tried(name, request, monkeypatch):
    if "digits" not in name:
        monkeypatch.setenv("WITHHOLD_DATA", str(request.getfixturevalue("real_data")))
    known = set(claim.RESULTS.rglob("*.json"))
    first = claim.measure(ROWS[name], 0.001, ())["results"][0]
    assert first.get("encoder", first.get("predictor")) == TRIED[name]
    assert set(claim.RESULTS.rglob("*.json")) == known, "nothing is recorded"
