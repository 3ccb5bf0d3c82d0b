"""Texts are evaluated like images, compared with features from word counts."""

import math

import numpy as np
import pytest
import torch

from withhold import evaluation, kinds, nets
from withhold.contract.tiny import texts, tokenizer
from withhold.evaluation.task import Task


@pytest.fixture(scope="module")
def samples():
    return texts("words", 16)


def test_tf_idf_is_what_the_formula_says(samples):
    """tf * (1 + log((1 + n) / (1 + df))), rows of length 1, over all of a document and not only a window of it."""
    train, test = samples.select(range(100)), samples.select(range(100, 128))
    found = kinds.of("text").raw(test, train)
    documents = [train.whole(row).tolist() for row in range(100)]
    words = sorted({word for document in documents for word in document})
    idf = [1 + math.log(101 / (1 + sum(word in document for document in documents))) for word in words]
    for row, features in enumerate(found):
        document = test.whole(row).tolist()
        assert len(document) > samples.window
        expected = np.array([document.count(word) * weight for word, weight in zip(words, idf, strict=True)])
        np.testing.assert_allclose(features[words], expected / np.linalg.norm(expected), rtol=1e-5)
    assert found.sum() == pytest.approx(found[:, words].sum().item())


def test_counts_of_words_have_one_deviation(samples):
    task = Task(None, samples, samples, 0, torch.device("cpu"), 1)
    mean, deviation = task.moments
    torch.testing.assert_close(mean, task.bank.mean(0))
    assert (deviation == deviation[0]).all()
    assert ((task.bank - mean) / deviation).var(0, correction=0).mean() == pytest.approx(1, rel=1e-4)


def test_texts_are_measured_beside_their_controls(samples):
    encoder = nets.build("text-transformer", tokenizer=tokenizer("words"), tokens=16)
    train, test = samples.split(0.25, 0)
    rows = evaluation.evaluate(
        encoder,
        train,
        test,
        ("knn", "linear", "finetune"),
        controls={"untrained": encoder},
        supervised=True,
        budget=800,
    )
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "supervised", "tf-idf"}
    found = {(row["encoder"], row["protocol"]): row["value"] for row in rows}
    assert found["tf-idf", "linear"] == 1
    assert found["supervised", "linear"] > 0.9
    assert found["trained", "finetune"] > 0.9
