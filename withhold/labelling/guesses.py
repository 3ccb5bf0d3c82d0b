"""Predictions of a linear probe trained on few labels."""

import torch
from torch import Tensor

from withhold.nets import logistic

FOLDS = 5


def standardised(features: Tensor) -> Tensor:
    """Features [n, d] centred and divided by one deviation, computed over the whole pool."""
    mean, deviation = logistic.moments(features, alike=True)
    return (features - mean) / deviation


def guesses(x: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Class probabilities of every item, float32 [n, k], by a linear probe trained on the labelled items.

    Args:
        x: standardised features, float32 [n, d].
        labels: int64 [n], -1 for unlabelled items.
        rng: for the choice of the probe's regularisation.
    """
    known = labels >= 0
    model, _ = logistic.probe(x[known], labels[known], int(labels.max()) + 1, rng)
    return model(x).softmax(1)


def out_of_fold(x: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """The cross-validated prediction of each labelled item, int64 [m], in five folds.

    Args:
        x: standardised features, float32 [m, d].
        labels: int64 [m], with m of at least 2.
    """
    found, classes = torch.empty_like(labels), int(labels.max()) + 1
    for held in torch.randperm(len(labels), generator=rng).tensor_split(min(FOLDS, len(labels))):
        kept = torch.ones(len(labels), dtype=torch.bool).index_fill(0, held, False)
        model, _ = logistic.probe(x[kept], labels[kept], classes, rng)
        found[held] = model(x[held]).argmax(1)
    return found
