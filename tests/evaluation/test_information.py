"""The mutual information of samples and predictions, against its definition."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.evaluation.test_clustering import Answering
from withhold.errors import UsageError
from withhold.evaluation import protocols
from withhold.evaluation.protocols import information


def measured(make_samples, make_task, scores):
    samples = make_samples([-1] * len(scores))
    (row,) = information.measure(make_task(samples, samples, method=Answering(scores)))
    return row["value"]


def test_it_is_the_mutual_information_of_items_and_answers(make_samples, make_task):
    scores = 2 * torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    shares = scores.double().softmax(1).tolist()
    mean = [sum(row[c] for row in shares) / 30 for c in range(4)]
    joint = sum(p / 30 * math.log(p / mean[c]) for row in shares for c, p in enumerate(row))
    assert measured(make_samples, make_task, scores) == pytest.approx(joint / math.log(4), rel=1e-4)


def test_sure_and_even_is_1_and_doubts_and_a_collapse_are_0(make_samples, make_task):
    even = 50 * torch.eye(3).repeat(4, 1)
    assert measured(make_samples, make_task, even) == pytest.approx(1, abs=1e-5)
    assert measured(make_samples, make_task, 0 * even) == pytest.approx(0, abs=1e-5)
    assert measured(make_samples, make_task, even[:1].repeat(12, 1)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("row", ["trained", "pretrained"])
def test_what_names_no_classes_is_refused(make_samples, make_task, row):
    assert protocols.find("information").told  # all items are measured on: none is learned from
    samples = make_samples([0, 1])
    with pytest.raises(UsageError, match="a method that predicts classes"):
        information.measure(make_task(samples, samples, method=SimpleNamespace(), row=row))
