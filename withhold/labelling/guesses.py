"""What a linear probe of few labels says of items, also of those that it learned from."""

import torch
from torch import Tensor

from withhold.nets import logistic

FOLDS = 5


def standardised(features: Tensor) -> Tensor:
    """Features [n, d] with mean zero and one deviation, those of the whole pool, which few labels do not tell."""
    mean, deviation = logistic.moments(features, alike=True)
    return (features - mean) / deviation


def guesses(x: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """The probability of each class for every item, float32 [n, k], by a linear probe of the labelled ones.

    Args:
        x: standardised features, float32 [n, d].
        labels: int64 [n], -1 where unlabelled.
        rng: draws what the probe's strength is chosen by.
    """
    known = labels >= 0
    model, _ = logistic.probe(x[known], labels[known], int(labels.max()) + 1, rng)
    return model(x).softmax(1)


def out_of_fold(x: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """The class of each labelled item, int64 [m], by a probe that did not learn from it, but from four fifths.

    Args:
        x: standardised features, float32 [m, d].
        labels: int64 [m], of two items or more.
    """
    found, classes = torch.empty_like(labels), int(labels.max()) + 1
    for held in torch.randperm(len(labels), generator=rng).tensor_split(min(FOLDS, len(labels))):
        kept = torch.ones(len(labels), dtype=torch.bool).index_fill(0, held, False)
        model, _ = logistic.probe(x[kept], labels[kept], classes, rng)
        found[held] = model(x[held]).argmax(1)
    return found
