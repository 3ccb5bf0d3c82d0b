"""Which items to label next, by the strategy that suits how many labels there are."""

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
"""Labels a class up to which a classifier's doubts say less than what is typical."""


@dataclass(frozen=True)
class Ranking:
    """Items to label next, the one to label first standing first.

    Attributes:
        strategy: the name of what chose them.
        items: their numbers in the pool, int64 [n].
        scores: by which they were chosen, float32 [n]; what they are is the strategy's.
        probabilities: what the classifier gives to each class, float32 [n, k]; None where there is no classifier.
    """

    strategy: str
    items: Tensor
    scores: Tensor
    probabilities: Tensor | None

    @property
    def why(self) -> list[str]:
        """Of each item why it was chosen, for a person."""
        return [STRATEGIES[self.strategy].why.format(score) for score in self.scores.tolist()]


def rank(
    features: Tensor,
    n: int,
    labels: Tensor,
    *,
    told: Tensor | None = None,
    probabilities: Tensor | None = None,
    strategy: str | None = None,
    seed: int = 0,
    source: str = "the data",
) -> Ranking:
    """The `n` items to label next.

    Without a strategy, "typical" chooses while there are up to ten labels a class, or no classifier; then "margin".

    Args:
        features: of an encoder, float32 [m, d].
        labels: classes, int64 [m]; -1 where there is no label.
        told: further items that have a label, whatever it is: bool [m].
        probabilities: what a classifier gives to each class, float32 [m, k]; by default a linear probe of the labels,
            where there are two classes or more.
        strategy: a name in `STRATEGIES`.
        seed: of what is drawn at random.
        source: what a person calls the items.

    Raises:
        UsageError: fewer than `n` items have no label, or the strategy is unknown or lacks what it needs.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise UsageError(f"There is no strategy {strategy!r}: {suggestion(strategy, STRATEGIES)}")
    labelled = labels >= 0 if told is None else (labels >= 0) | told
    free = int((~labelled).sum())
    if n < 1:
        raise UsageError(f"{n} items cannot be chosen: ask for 1 at least.")
    if not free:
        raise UsageError(f"All {counted(len(labels), 'item')} of {source} have a label: give data with others.")
    if n > free:
        raise UsageError(
            f"{source} has {counted(free, 'item')} without a label, and {n:,} are asked for: ask for {free:,} at most."
        )
    rng = torch.Generator().manual_seed(seed)
    taught = labels[labels >= 0].unique().numel() > 1
    if probabilities is None and taught:
        probabilities = guesses(standardised(features), labels, rng)
    there = {"": True, "probabilities": probabilities is not None, "labels": taught}
    if strategy is None:
        strategy = _suited(int(labelled.sum()), probabilities)
    elif not there[needs := STRATEGIES[strategy].needs]:
        able = "a classifier" if needs == "probabilities" else "items whose labels are known"
        raise UsageError(f"{strategy} needs {able}: give labels of two classes or more, or take typical or core-set.")
    items, scores = STRATEGIES[strategy].choose(Pool(features, labelled, probabilities, labels, rng), n)
    return Ranking(strategy, items, scores, None if probabilities is None else probabilities[items])


def _suited(count: int, probabilities: Tensor | None) -> str:
    """The strategy for so many labels; it is said."""
    if probabilities is None:
        log.info("strategy: typical, which needs no classifier")
        return "typical"
    each = count / probabilities.shape[1]
    name = "typical" if each <= FEW else "margin"
    log.info("strategy: %s, since there are %.3g labels a class", name, each)
    return name
