"""Strategies: pure functions that choose unlabelled items of a pool to label next."""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.console import counted
from withhold.errors import UsageError
from withhold.labelling.guesses import out_of_fold, standardised
from withhold.nets import logistic

log = logging.getLogger("withhold")

CLUSTERS, SMALL, NEIGHBOURS = 500, 5, 20
"""TypiClust: largest number of clusters, size up to which a cluster is an outlier, and neighbours for typicality."""
MOST = 4096
"""Largest number of members of a cluster that are compared, drawn at random."""
STRIDE, RELIABLE = 10, 30
"""ATLAS: items chosen before its classifier is refitted, and misclassified items needed for it to be reliable."""
ROWS = 1024
"""Items whose distances to all others are computed at a time."""


@dataclass(frozen=True)
class Pool:
    """Items, some of which are labelled.

    Args:
        features: features of an encoder, float32 [n, d].
        labelled: items to leave out, since they are labelled or for another reason: bool [n].
        probabilities: class probabilities, float32 [n, k]; None without a classifier.
        labels: the known classes of labelled items, int64 [n]; -1 for the rest.
        rng: random generator on the CPU.
    """

    features: Tensor
    labelled: Tensor
    probabilities: Tensor | None
    labels: Tensor
    rng: torch.Generator

    @property
    def free(self) -> Tensor:
        """The unlabelled items, int64 [m]."""
        return (~self.labelled).nonzero()[:, 0]

    @property
    def asked(self) -> Tensor:
        """The class probabilities of the unlabelled items, float32 [m, k]."""
        assert self.probabilities is not None  # checked by `rank`
        return self.probabilities[~self.labelled]


Chosen = tuple[Tensor, Tensor]
"""Numbers of items in the order to label, int64 [n], and their scores, float32 [n]."""


def uncertainty(score: Callable[[Tensor], Tensor]) -> Callable[[Pool, int], Chosen]:
    """A strategy that chooses the items with the highest `score`, a function of probabilities [m, k] -> [m]."""

    def choose(pool: Pool, n: int) -> Chosen:
        return _highest(score(pool.asked), pool.free, n)

    return choose


def least_confident(p: Tensor) -> Tensor:
    """One less the highest class probability, divided by its maximum: in [0, 1]."""
    return (1 - p.amax(1)) * p.shape[1] / (p.shape[1] - 1)


def margin(p: Tensor) -> Tensor:
    """One less the difference of the two highest class probabilities: in [0, 1]."""
    first, second = p.topk(2, dim=1).values.T
    return 1 - (first - second)


def entropy(p: Tensor) -> Tensor:
    """The entropy divided by its maximum: in [0, 1]."""
    return torch.special.entr(p).sum(1) / np.log(p.shape[1])


def core_set(pool: Pool, n: int) -> Chosen:
    """k-centre (Sener & Savarese, ICLR 2018): repeatedly the item farthest from all labelled, skipped and chosen ones.

    Features are normalised, since in many dimensions long vectors are far from everything. Without labels, the item
    nearest to the mean comes first. The score is the distance at which an item was chosen.
    """
    x = F.normalize(pool.features, dim=1)
    if pool.labelled.any():
        near = torch.cat([torch.cdist(rows, x[pool.labelled]).amin(1) for rows in x.split(ROWS)])
        return _farthest(x, near.masked_fill(pool.labelled, -1.0), n)
    first = (x - x.mean(0)).norm(dim=1).argmin()
    near = (x - x[first]).norm(dim=1).index_fill(0, first, -1.0)
    rest, distances = _farthest(x, near, n - 1)
    return torch.cat([first[None], rest]), torch.cat([distances.new_zeros(1), distances])


def badge(pool: Pool, n: int) -> Chosen:
    """BADGE (Ash et al., ICLR 2020): the seeds of k-means++ among the gradients of the classifier's last layer.

    The gradient of an item, with its most probable class as label, is the outer product of a = p - onehot(argmax p) [k]
    and its features h [d]. Distances do not need it: |g_i - g_j|^2 = |a_i|^2 |h_i|^2 + |a_j|^2 |h_j|^2 - 2 (a_i.a_j)
    (h_i.h_j). The first item has the longest gradient. Each further item is drawn with a probability proportional to
    its squared distance to the chosen ones. The score is this distance; for the first item, the gradient's length.
    """
    h, p = pool.features[~pool.labelled], pool.asked
    a = p - F.one_hot(p.argmax(1), p.shape[1])
    lengths = a.square().sum(1) * h.square().sum(1)
    chosen, scores = [int(lengths.argmax())], [lengths.max()]
    near = torch.full_like(lengths, torch.inf)
    while len(chosen) < n:
        last = chosen[-1]
        squares = lengths + lengths[last] - 2 * (a @ a[last]) * (h @ h[last])
        near = torch.minimum(near, squares.clamp(min=0)).index_fill(0, torch.tensor(chosen), 0.0)
        left = near if near.sum() > 0 else torch.ones_like(near).index_fill(0, torch.tensor(chosen), 0.0)
        sums = left.double().cumsum(0)
        drawn = torch.rand(1, generator=pool.rng, dtype=torch.float64) * sums[-1]
        chosen.append(int(torch.searchsorted(sums, drawn, right=True)))
        scores.append(near[chosen[-1]])
    return pool.free[chosen], torch.stack(scores).sqrt()


def typical(pool: Pool, n: int) -> Chosen:
    """TypiClust (Hacohen et al., ICML 2022): the most typical item of each cluster with the fewest labels.

    k-means finds as many clusters as there will be labelled items, at most 500. Clusters are visited in turn, first
    those with the fewest labelled items, then the largest; clusters of up to five items come last, as outliers. The
    score is the typicality: one over the mean distance to 20 neighbours in the cluster, or to half of a small cluster.
    Features are normalised. In a cluster of more than 4,096 items, that many are compared, drawn at random.
    """
    from sklearn.cluster import MiniBatchKMeans

    x = F.normalize(pool.features, dim=1)
    count = min(int(pool.labelled.sum()) + n, CLUSTERS, len(x))
    seed = int(torch.randint(2**31, (1,), generator=pool.rng))
    kmeans = MiniBatchKMeans(count, batch_size=max(1024, 4 * count), n_init=1, random_state=seed)
    clusters = torch.from_numpy(kmeans.fit_predict(x.numpy())).long()
    sizes = clusters.bincount(minlength=count)
    labelled = clusters[pool.labelled].bincount(minlength=count)
    order = sorted(range(count), key=lambda each: (int(labelled[each]), -int(sizes[each])))
    found: list[tuple[int, float]] = []
    for outlying in (False, True):
        queues = [
            _by_typicality(x, (clusters == each) & ~pool.labelled, pool.rng)
            for each in order
            if (sizes[each] <= SMALL) == outlying
        ]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
        found += itertools.islice(filter(None, turns), n - len(found))
    rest = np.setdiff1d(pool.free.numpy(), [item for item, _ in found])  # from clusters that were only partly compared
    found += [(int(item), 0.0) for item in rest[: n - len(found)]]
    chosen, scores = zip(*found, strict=True)
    return torch.tensor(chosen), torch.tensor(scores)


def atlas(pool: Pool, n: int) -> Chosen:
    """ATLAS (Munro, Human-in-the-Loop Machine Learning, 2021): items similar to misclassified items.

    Labelled items are predicted by cross-validation. A second classifier learns from their features, with balanced
    weights, which predictions are wrong, and the ten items most probably misclassified are chosen. Since they will be
    labelled, they count as correct from then on, and the next ten are chosen in the same way. The score is the
    probability of misclassification when an item was chosen.

    Raises:
        UsageError: all labelled items are classified correctly, or none.
    """
    known = (pool.labels >= 0).nonzero()[:, 0]
    x = standardised(pool.features)
    wrong = (out_of_fold(x[known], pool.labels[known], pool.rng) != pool.labels[known]).long()
    count = int(wrong.sum())
    if count in (0, len(wrong)):
        which = "none" if not count else "all"
        raise UsageError(
            f"atlas needs correct and wrong predictions, and {which} of the labelled items are misclassified. "
            "Use another strategy."
        )
    if count < RELIABLE:
        log.warning("atlas has %s; it needs %s to be reliable", counted(count, "misclassified item"), RELIABLE)
    free, chosen, scores, model = pool.free, torch.empty(0, dtype=torch.int64), torch.empty(0), None
    while len(chosen) < n:
        rows, targets = torch.cat([known, chosen]), torch.cat([wrong, torch.zeros_like(chosen)])
        weights = len(rows) / (2 * targets.bincount().float())
        model = logistic.fit(x[rows], targets, 2, logistic.UNCHOSEN, model, weights)
        left = free[~torch.isin(free, chosen)]
        some, probable = _highest(model(x[left]).softmax(1)[:, 1], left, min(STRIDE, n - len(chosen)))
        chosen, scores = torch.cat([chosen, some]), torch.cat([scores, probable])
    return chosen, scores


def random(pool: Pool, n: int) -> Chosen:
    """Items drawn at random: the control, with scores of zero."""
    order = torch.randperm(len(pool.free), generator=pool.rng)[:n]
    return pool.free[order], torch.zeros(n)


class Strategy(NamedTuple):
    """A strategy.

    Attributes:
        choose: (pool, n) -> the chosen items and their scores.
        why: the reason for an item, to be formatted with its score.
        needs: what it needs of a pool: "probabilities", "labels", or nothing.
        alone: the reason for a score of 0, if it is another one.
    """

    choose: Callable[[Pool, int], Chosen]
    why: str
    needs: str = ""
    alone: str = ""


STRATEGIES = {
    "typical": Strategy(typical, "typical of unlabelled items ({:.2f})", alone="unlike other unlabelled items"),
    "core-set": Strategy(core_set, "distance {:.2f} to all labelled and chosen items"),
    "badge": Strategy(badge, "would change the classifier in a new way ({:.2f})", "probabilities"),
    "least-confident": Strategy(uncertainty(least_confident), "low confidence (uncertainty {:.2f})", "probabilities"),
    "margin": Strategy(uncertainty(margin), "small margin between two classes (uncertainty {:.2f})", "probabilities"),
    "entropy": Strategy(uncertainty(entropy), "high entropy ({:.2f} of the maximum)", "probabilities"),
    "atlas": Strategy(atlas, "likely misclassified (probability {:.2f})", "labels"),
    "random": Strategy(random, "drawn at random"),
}
"""All strategies by name."""


def _highest(scores: Tensor, items: Tensor, n: int) -> Chosen:
    order = scores.argsort(descending=True, stable=True)[:n]
    return items[order], scores[order]


def _farthest(x: Tensor, near: Tensor, n: int) -> Chosen:
    """Choose n items of x [m, d] in turn, each the farthest from previous ones; `near` [m]: initial distances."""
    chosen, distances = [], []
    for _ in range(n):
        last = int(near.argmax())
        chosen.append(last)
        distances.append(near[last])
        near = torch.minimum(near, (x - x[last]).norm(dim=1))
        near[chosen] = -1.0  # even if others are copies of it
    return torch.tensor(chosen, dtype=torch.int64), torch.stack(distances) if distances else near.new_zeros(0)


def _by_typicality(x: Tensor, members: Tensor, rng: torch.Generator) -> Iterator[tuple[int, float]]:
    """The items of x [n, d] that are `members`, bool [n], and their typicality, the most typical first."""
    rows = members.nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=rng)[:MOST]]
    near = torch.cdist(x[rows], x[rows]).fill_diagonal_(torch.inf)
    k = min(NEIGHBOURS, max(len(rows) // 2, 1))
    # A single item has an infinite distance, and the score 0.
    scores = 1 / (near.topk(k, largest=False).values.mean(1) + 1e-5) if len(rows) else near.new_zeros(0)
    order = scores.argsort(descending=True, stable=True)
    yield from zip(rows[order].tolist(), scores[order].tolist(), strict=True)
