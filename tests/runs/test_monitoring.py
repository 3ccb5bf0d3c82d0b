"""The data that is monitored during training, without labels that the method is given."""

import numpy as np
import pytest
import torch

from withhold import nets
from withhold.data import Samples
from withhold.methods import build, find
from withhold.needs import parse
from withhold.runs import monitoring


def needs(**streams):
    return {stream: parse(need) for stream, need in streams.items()}


def test_labels_that_were_told_are_not_measured_on(make_samples):
    """The unlabelled stream is the whole source, labels and all, of which a tenth were told."""
    samples = make_samples(200)
    told = samples.select(range(20))
    streams = {"labelled": told, "unlabelled": samples}
    bank, queries = monitoring.choose(needs(labelled="image + label", unlabelled="image"), streams)
    assert len(queries) == 45
    assert not set(told.names) & {*bank.names, *queries.names}
    assert not set(bank.names) & set(queries.names)


def test_told_items_are_known_by_their_content_whatever_they_are_called(make_samples):
    samples = make_samples(200)
    names = np.array([f"other/{k}.png" for k in range(20)])
    told = Samples(samples.array[:20], names, samples.labels[:20], ("a", "b", "c"))
    streams = {"labelled": told, "unlabelled": samples}
    bank, queries = monitoring.choose(needs(labelled="image + label", unlabelled="image"), streams)
    assert len(queries) == 45
    assert not {*told.digests()} & {*bank.digests(), *queries.digests()}


@pytest.mark.parametrize("others", [False, True])
def test_where_all_labels_were_told_there_is_no_accuracy(make_samples, others):
    told, bare = make_samples(40), make_samples(40, labels=None)
    declared = needs(labelled="image + label", **({"unlabelled": "image"} if others else {}))
    watched = monitoring.choose(declared, {"labelled": told, "unlabelled": bare} if others else {"labelled": told})
    row = monitoring.look(nets.build("convnet", size=32, channels=1), *watched)
    assert set(row) == {"rank", "spread"}


def test_labels_that_nobody_told_are_measured_on(make_samples):
    labels = make_samples(40).labels.copy()
    labels[:20] = -1
    samples = make_samples(40).with_labels(labels, ("a", "b", "c"))
    bank, queries = monitoring.choose(needs(images="image"), {"images": samples})
    assert (len(bank), len(queries)) == (15, 5)
    assert (np.concatenate([bank.labels, queries.labels]) >= 0).all()
    assert "knn" in monitoring.look(nets.build("convnet", size=32, channels=1), bank, queries)


def test_labels_that_were_told_before_are_not_measured_on(make_samples):
    """By an earlier training, whose encoder this one goes on from."""
    samples = make_samples(200)
    told = set(samples.select(range(20)).digests())
    bank, queries = monitoring.choose(needs(images="image"), {"images": samples}, told)
    assert len(queries) == 45
    assert not told & {*bank.digests(), *queries.digests()}
    _, queries = monitoring.choose(needs(images="image"), {"images": samples}, samples.digests())
    assert not len(queries)


@pytest.mark.parametrize(
    ("method", "said", "labels", "found"),
    [
        ("pseudo_label", [1] * 60, (0, 1, 2), {"class": "b", "predicted": 1.0, "told": 1 / 3}),
        ("pseudo_label", [1] * 57 + [0] * 3, (0, 1, 2), None),  # the predictions vary
        ("pseudo_label", [1] * 33 + [0] * 27, (1, *[0, 2] * 5), {"class": "b", "predicted": 0.55, "told": 0.1}),
        ("pseudo_label", [1] * 22 + [0] * 20 + [2] * 18, (1, *[0, 2] * 5), None),  # too few to tell
        ("pseudo_label", [1] * 60, (1,) * 19 + (0,), None),  # nearly all labels are this class, too
        ("finetune", [1] * 60, (0, 1, 2), None),  # it has no unlabelled items
    ],
)
def test_one_prediction_for_all_unlabelled_items_is_found(make_samples, monkeypatch, method, said, labels, found):
    classes = ("a", "b", "c")
    known = make_samples(60).with_labels(np.resize(labels, 60), classes)
    streams = {"labelled": known, "unlabelled": make_samples(60, labels=None)}
    learner = build(find(method), nets.build("convnet", size=32, channels=1), {}, {"classes": classes}).eval()
    monkeypatch.setattr(monitoring.evaluation, "scores", lambda *given, **options: torch.eye(3)[said])
    streams = {name: streams[name] for name in learner.needs}
    assert monitoring.one_class(learner, streams, torch.device("cpu")) == (found and pytest.approx(found))
