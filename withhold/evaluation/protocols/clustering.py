"""Clustering: agreement of clusters found without labels with the classes."""

import numpy as np
import torch
from torch import Tensor

from withhold.evaluation.features import scores
from withhold.evaluation.task import Task
from withhold.methods import Classifier

MOST = 20_000
"""The most training items for k-means."""
STARTS = 10


def measure(task: Task) -> list[dict]:
    """The agreement of the clusters of the test items with their classes, in three metrics.

    A method that predicts clusters or classes is measured by these. Other features are clustered by k-means, with as
    many clusters as the test set has classes, fitted on the training items without their labels; the best of ten starts
    is used.

    "accuracy" is the share of correct items under the best one-to-one assignment of clusters to classes. "NMI" is the
    mutual information of clusters and classes, divided by the mean of their entropies. "ARI" is the adjusted Rand index
    (Hubert & Arabie, 1985): 0 is chance, 1 is perfect. "chance" is the value when the clusters are shuffled over items.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if isinstance(task.method, Classifier):
        found = scores(task.method, task.test, device=task.device)
    else:
        found = _k_means(task)
    truth, clusters = task.truth.cpu(), found.argmax(1).cpu()
    measures = {"accuracy": matched, "NMI": normalized_mutual_info_score, "ARI": adjusted_rand_score}
    moved = clusters[torch.randperm(len(clusters), generator=torch.Generator().manual_seed(task.seed))]
    return [
        {
            "metric": name, "value": float(agreement(clusters, truth)), "chance": float(agreement(moved, truth)),
            "clusters": found.shape[1],
        }
        for name, agreement in measures.items()
    ]  # fmt: skip


def matched(clusters: Tensor, classes: Tensor) -> float:
    """The share of items, int64 [n] both, that agree under the best pairing of clusters with classes, one to one."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((int(clusters.max()) + 1, int(classes.max()) + 1), dtype=np.int64)
    np.add.at(table, (clusters.numpy(), classes.numpy()), 1)
    return int(table[linear_sum_assignment(table, maximize=True)].sum()) / len(classes)


def _k_means(task: Task) -> Tensor:
    """The negative distance of each test item to each cluster's centre: float [n, k]."""
    from sklearn.cluster import KMeans

    some = torch.randperm(len(task.bank), generator=torch.Generator().manual_seed(task.seed))[:MOST]
    count = min(len(task.truth.unique()), len(some))
    kmeans = KMeans(count, n_init=STARTS, random_state=task.seed).fit(task.bank[some].cpu().numpy())
    return -torch.from_numpy(kmeans.transform(task.queries.cpu().numpy()))
