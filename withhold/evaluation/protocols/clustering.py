"""Clustering: groups that were found without labels, beside the classes."""

import numpy as np
import torch
from torch import Tensor

from withhold.evaluation.features import scores
from withhold.evaluation.task import Task
from withhold.methods import Classifier

MOST = 20_000
"""Training items that k-means looks at."""
STARTS = 10


def measure(task: Task) -> list[dict]:
    """How well the clusters of the test items agree with their classes, in three measures.

    A method that answers with clusters or classes has its own. To other features k-means is fitted, with as many
    clusters as the test has classes, on the training items without their labels; of ten starts the best is taken.

    "chance" is what the same clusters give when items change places.

    "accuracy" is the share of items that are named rightly when each cluster is named after a class of its own, in the
    best way that there is. "NMI" is the mutual information of clusters and classes, divided by the mean of their
    entropies, and "ARI" the adjusted Rand index (Hubert & Arabie, 1985): 0 is chance, 1 is perfect.
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
    """Of each test item minus its distance to each cluster's centre: float [n, k]."""
    from sklearn.cluster import KMeans

    some = torch.randperm(len(task.bank), generator=torch.Generator().manual_seed(task.seed))[:MOST]
    count = min(len(task.truth.unique()), len(some))
    kmeans = KMeans(count, n_init=STARTS, random_state=task.seed).fit(task.bank[some].cpu().numpy())
    return -torch.from_numpy(kmeans.transform(task.queries.cpu().numpy()))
