"""The choice of items to label next, with a strategy that depends on the number of labels."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from withhold.console import counted
from withhold.errors import UsageError, suggestion
from withhold.labelling.guesses import guesses, standardised
from withhold.labelling.strategies import STRATEGIES, Pool

log = logging.getLogger("withhold")

FEW = 10
"""Labels per class up to which typical items are better than uncertain ones."""


@dataclass(frozen=True)
class Ranking:
    """Items to label next, in order.

    Attributes:
        strategy: the name of the strategy.
        items: their numbers in the pool, int64 [n].
        scores: their scores, float32 [n], with a meaning that depends on the strategy.
        probabilities: class probabilities, float32 [n, k]; None without a classifier.
    """

    strategy: str
    items: Tensor
    scores: Tensor
    probabilities: Tensor | None

    @property
    def why(self) -> list[str]:
        """The reason for each item, in words."""
        _, why, _, alone = STRATEGIES[self.strategy]
        return [why.format(score) if score or not alone else alone for score in self.scores.tolist()]


def rank(
    features: Tensor,
    n: int,
    labels: Tensor,
    *,
    told: Tensor | None = None,
    skipped: Tensor | None = None,
    probabilities: Tensor | None = None,
    strategy: str | None = None,
    seed: int = 0,
    source: str = "the data",
) -> Ranking:
    """Choose the `n` items to label next.

    The default strategy is "typical" with up to ten labels per class or without a classifier, and "margin" otherwise.

    Args:
        features: features of an encoder, float32 [m, d].
        labels: classes, int64 [m]; -1 for no label.
        told: further items that are labelled, with a class that is not known here: bool [m].
        skipped: items to leave out that are not labelled: bool [m].
        probabilities: class probabilities, float32 [m, k]; by default by a linear probe trained on the labels, if there
            are two classes or more.
        strategy: a name in `STRATEGIES`.
        seed: random seed.
        source: name of the data for messages.

    Raises:
        UsageError: fewer than `n` items have no label, or the strategy is unknown or lacks what it needs.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise UsageError(f"There is no strategy {strategy!r}: {suggestion(strategy, STRATEGIES)}")
    labelled = labels >= 0 if told is None else (labels >= 0) | told
    taken = labelled if skipped is None else labelled | skipped
    free = int((~taken).sum())
    if n < 1:
        raise UsageError(f"The number of items to choose must be at least 1, not {n}.")
    if not free:
        raise UsageError(
            f"All {counted(len(labels), 'item')} of {source} have a label. Give data with unlabelled items."
        )
    if n > free:
        raise UsageError(
            f"{source} has {counted(free, 'unlabelled item')}, fewer than the {n:,} to choose. Choose {free:,} at most."
        )
    rng = torch.Generator().manual_seed(seed)
    taught = labels[labels >= 0].unique().numel() > 1
    if probabilities is None and taught:
        probabilities = guesses(standardised(features), labels, rng)
    there = {"": True, "probabilities": probabilities is not None, "labels": taught}
    if strategy is None:
        strategy = _suited(int(labelled.sum()), probabilities)
    elif not there[needs := STRATEGIES[strategy].needs]:
        able = "a classifier" if needs == "probabilities" else "labelled items"
        raise UsageError(f"{strategy} needs {able}. Give labels of two classes or more, or use typical or core-set.")
    items, scores = STRATEGIES[strategy].choose(Pool(features, taken, probabilities, labels, rng), n)
    return Ranking(strategy, items, scores, None if probabilities is None else probabilities[items])


def _suited(count: int, probabilities: Tensor | None) -> str:
    """The default strategy for a number of labels; it is logged."""
    if probabilities is None:
        log.info("strategy: typical, which needs no classifier")
        return "typical"
    each = count / probabilities.shape[1]
    name = "typical" if each <= FEW else "margin"
    log.info("strategy: %s, since there are %.3g labels per class", name, each)
    return name
