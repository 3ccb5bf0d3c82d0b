"""A classifier on frozen features that is refitted after every label and predicts all items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import labelling
from withhold.exploring import atlas
from withhold.labelling.guesses import standardised
from withhold.learning import folds, propagation
from withhold.learning.mislabelled import mislabelled
from withhold.nets import logistic

EVERY = 20
"""Labels after which accuracy is measured again."""
MOST = 2000
"""Largest number of items that a head is fitted to, so that it takes at most a second."""
GRAPH = 20_000
"""Largest number of items for label propagation, which compares all pairs; 100,000 items would take minutes."""
SPOKEN = 128
"""Number of principal components for clusters and neighbours."""
ROUTES = ("logistic regression", "label propagation")
"""The first one wins a tie: it answers at once, so the page does not switch to another without need."""
CLUSTERS = 20
FAR = 10
"""The distance to this neighbour measures how much of an outlier an item is."""


@dataclass(frozen=True)
class Answers:
    """Predictions of a classifier for all items.

    Attributes:
        classes: the most probable class of each item, int16 [n].
        sure: its probability, float32 [n].
        shares: the probability of each class, float32 [n, k].
    """

    classes: np.ndarray
    sure: np.ndarray
    shares: Tensor


@dataclass
class Measured:
    """Cross-validation on the labels so far.

    Attributes:
        count: number of labels.
        accuracy, low, high: accuracy of the chosen route, with its 95 % interval.
        rows: the held-out items [m].
        labels: their labels [m].
        shares: their cross-validated class probabilities [m, k].
    """

    count: int
    accuracy: float
    low: float
    high: float
    rows: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    shares: np.ndarray = field(repr=False)

    @property
    def answers(self) -> np.ndarray:
        return self.shares.argmax(1)

    @property
    def suspects(self) -> np.ndarray:
        """The items that look mislabelled, the most probable first."""
        return self.rows[mislabelled(self.shares, self.labels)]


class Adviser:
    """A classifier on the features [n, d] of all items.

    Logistic regression predicts within a second. Unless there are too many items, labels are then propagated over the
    graph of neighbours, and the route with the better cross-validation is shown.

    Args:
        told: whether the encoder was trained on the item's label, bool [n]; such items are not used for measuring.
        seed: seed of folds, clusters and axes.
        owners: maps items to digests of their content; copies are kept in the same fold.
    """

    def __init__(
        self,
        features: Tensor,
        told: np.ndarray | None = None,
        seed: int = 0,
        owners: Callable[[np.ndarray], Sequence[object]] = np.ndarray.tolist,
    ):
        self.features, self.seed = features, seed
        self.told = np.zeros(len(features), dtype=bool) if told is None else told
        self.owners = owners
        self.x = standardised(features)
        self.axes = atlas.Axes.of(features, SPOKEN, seed)
        self.parts = self.axes(features)

    @cached_property
    def unit(self) -> Tensor:
        """The direction of each item, float32 [n, k]."""
        return F.normalize(self.parts, dim=1)

    def near(self, features: Tensor, count: int, apart: int | None = None) -> tuple[list[int], list[float]]:
        """The items nearest to features [d], and their cosine distances; the item `apart` is left out."""
        cosines = self.unit @ F.normalize(self.axes(features[None])[0], dim=0)
        if apart is not None:
            cosines[apart] = -torch.inf
        values, rows = cosines.topk(min(count, len(cosines) - (apart is not None)))
        return rows.tolist(), (1 - values).tolist()

    @cached_property
    def clusters(self) -> np.ndarray:
        """The cluster of each item by k-means, int16 [n]."""
        from sklearn.cluster import MiniBatchKMeans

        count = min(CLUSTERS, len(self.unit))
        means = MiniBatchKMeans(count, random_state=self.seed, n_init=3, batch_size=4096)
        return means.fit_predict(self.unit.numpy()).astype(np.int16)

    @cached_property
    def strange(self) -> np.ndarray:
        """The cosine distance of each item to its tenth neighbour, float32 [n]: large for outliers.

        Neighbours are searched among at most 20,000 random items.
        """
        rng = torch.Generator().manual_seed(self.seed)
        others = self.unit[torch.randperm(len(self.unit), generator=rng)[:GRAPH]]
        parts = self.unit.split(max(1, 2**25 // len(others)))
        found = [1 - (part @ others.T).topk(min(FAR + 1, len(others))).values[:, -1] for part in parts]
        return torch.cat(found).numpy()

    @cached_property
    def graph(self) -> Any:
        """The graph of neighbours for label propagation; None if there are too many items."""
        return propagation.graph(self.features) if len(self.features) <= GRAPH else None

    def answer(self, labels: np.ndarray, classes: int, route: str) -> Answers | None:
        """Predictions for all items; None if fewer than two classes have labels.

        Args:
            labels: int [n], -1 for no label.
            classes: number of classes.
            route: one of `ROUTES`.
        """
        rows = np.flatnonzero(labels >= 0)
        if len(np.unique(labels[rows])) < 2:
            return None
        shares = self._scores(rows, labels[rows], classes, route)(self.x).softmax(1)
        sure, likeliest = shares.max(1)
        return Answers(likeliest.numpy().astype(np.int16), sure.numpy(), shares)

    def routes(self) -> tuple[str, ...]:
        """The available routes, the simple one first."""
        return ROUTES if self.graph is not None else ROUTES[:1]

    def measure(self, labels: np.ndarray, classes: int) -> tuple[Measured, str] | None:
        """Cross-validate every route on the labels, and choose the route to show; None if there are too few labels.

        At least two classes need three labels each that the encoder was not trained on. Classes with fewer labels are
        used for training, but not measured.
        """
        rows = np.flatnonzero(labels >= 0)
        given, new = labels[rows].astype(np.int64), ~self.told[rows]
        owners = self.owners(rows)
        numbers, counts = folds.counted(given, owners, new)
        enough = numbers[counts >= folds.LEAST]
        if len(enough) < 2:
            return None
        compared = np.flatnonzero(np.isin(given, enough) & new)
        (parts,) = folds.fold(given, owners, compared, repeats=1, seed=self.seed)
        compared = folds.held_out(parts)
        names, found = self.routes(), []
        for route in names:
            scores = torch.zeros(len(rows), classes)
            for known, held in parts:
                scores[held] = self._scores(rows[known], given[known], classes, route)(self.x[rows[held]])
            found.append(scores[compared])
        right = [(scores.argmax(1).numpy() == given[compared]).astype(float)[None] for scores in found]
        place = folds.choose(right)
        values = folds.interval(right[place])
        shares = found[place].softmax(1).numpy()
        return Measured(len(rows), *values, rows[compared], given[compared], shares), names[place]

    def queue(
        self, count: int, labels: np.ndarray, passed: Sequence[int], shares: Tensor | None, strategy: str
    ) -> tuple[list[int], list[str]]:
        """Items to label next and the reason for each, in order; fewer than `count` if fewer are left.

        They are chosen among at most 20,000 random unlabelled items, drawn again each time.

        Args:
            passed: items that were skipped.
            shares: class probabilities of all items [n, k]; None without a classifier.
            strategy: a strategy of `withhold.labelling`; "" for the default.
        """
        known = torch.from_numpy(labels.astype(np.int64))
        skipped = torch.zeros(len(labels), dtype=torch.bool)
        skipped[list(passed)] = True
        seed = self.seed + int((known >= 0).sum())
        free = (~skipped & (known < 0)).nonzero()[:, 0]
        free = free[torch.randperm(len(free), generator=torch.Generator().manual_seed(seed))[:GRAPH]]
        if not len(free):
            return [], []
        rows = torch.cat([free, (skipped | (known >= 0)).nonzero()[:, 0]]).sort().values
        ranking = labelling.rank(
            self.features[rows], min(count, len(free)), known[rows], skipped=skipped[rows],
            probabilities=None if shares is None else shares[rows], strategy=strategy or None, seed=seed,
        )  # fmt: skip
        return rows[ranking.items].tolist(), ranking.why

    def _scores(self, rows: np.ndarray, labels: np.ndarray, classes: int, route: str) -> logistic.Linear:
        """The linear classifier of a route, on standardised features."""
        rng = torch.Generator().manual_seed(self.seed)
        if route == ROUTES[1]:
            found = propagation.propagate(self.graph, rows, labels.astype(np.int64), classes)
            rows = np.flatnonzero(found >= 0)
            labels = found[rows]
        chosen = torch.randperm(len(rows), generator=rng)[:MOST].numpy()
        told = torch.as_tensor(labels[chosen].astype(np.int64))
        model, _ = logistic.probe(self.x[rows[chosen]], told, classes, rng)
        return model
