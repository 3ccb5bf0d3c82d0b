"""Label propagation from few labelled items to all items, on a nearest-neighbour graph."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.nets.logistic import moments

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 15
GAMMA = 3.0
"""Exponent of a similarity: how much more near neighbours count."""
ALPHA = 0.99
"""Weight of an item's neighbours, relative to its own label."""
DIMENSIONS = 128
"""Number of principal components for the neighbour search."""


def graph(features: Tensor, neighbours: int = NEIGHBOURS) -> "csr_matrix":
    """Features [n, d] -> the normalised affinities S = D^-1/2 (A + A^T) D^-1/2 of their neighbours, sparse [n, n].

    A holds the cosine similarity of an item to its nearest neighbours, to the power of `GAMMA`; negative similarities
    are set to 0. Features are first centred and divided by one standard deviation.

    Source: Iscen, Tolias, Avrithis & Chum, CVPR 2019, section 4.1.
    """
    from scipy.linalg import eigh
    from scipy.sparse import csr_matrix, diags

    mean, deviation = moments(features, alike=True)
    x = (features - mean) / deviation
    if x.shape[1] > DIMENSIONS:
        last = x.shape[1] - 1
        _, axes = eigh((x.T @ x).double().numpy(), subset_by_index=[last - DIMENSIONS + 1, last])
        x = x @ torch.from_numpy(axes).float()
    x = F.normalize(x, dim=1)
    count, most = len(x), min(neighbours, len(x) - 1)
    values, columns = [], []
    for rows in torch.arange(count).tensor_split(count // 1024 + 1):
        cosines = x[rows] @ x.T
        cosines[torch.arange(len(rows)), rows] = -torch.inf
        near = cosines.topk(most, dim=1)
        values.append(near.values.clamp(min=0) ** GAMMA)
        columns.append(near.indices)
    ends = np.arange(count + 1) * most
    one_way = csr_matrix((torch.cat(values).flatten().numpy(), torch.cat(columns).flatten().numpy(), ends))
    one_way.resize(count, count)
    both = (one_way + one_way.T).astype(np.float64)
    degrees = np.asarray(both.sum(1)).ravel()
    scale = diags(np.divide(1, np.sqrt(degrees), out=np.zeros(count), where=degrees > 0))
    return (scale @ both @ scale).tocsr()


def diffuse(affinities: "csr_matrix", rows: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Class scores of every item: F = (I - alpha S)^-1 Y, float [n, k], by conjugate gradients.

    Source: Zhou, Bousquet, Lal, Weston & Schölkopf, NIPS 2004.

    Args:
        affinities: S, as `graph` gives it.
        rows, labels: the labelled items [m] and their labels; Y is 1 there and 0 elsewhere.
    """
    from scipy.sparse import identity
    from scipy.sparse.linalg import cg

    count = affinities.shape[0]
    told = np.zeros((classes, count))
    told[labels, rows] = 1
    system = identity(count, format="csr") - ALPHA * affinities
    return np.stack([cg(system, part, rtol=1e-6, maxiter=200)[0] if part.any() else part for part in told], axis=1)


def propagate(affinities: "csr_matrix", rows: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The highest-scoring class of each item, int64 [n]; -1 for unreachable items. Given labels are kept.

    The total score of each class is scaled to its share of the labels. Otherwise a class whose labels lie in a dense
    region would take over its neighbours (class mass normalisation: Zhu, Ghahramani & Lafferty, ICML 2003, section 4).
    """
    reached = diffuse(affinities, rows, labels, classes).clip(min=0)
    scaled = reached * np.bincount(labels, minlength=classes) / np.maximum(reached.sum(0), 1e-12)
    found = np.where(reached.max(1) > 1e-12, scaled.argmax(1), -1)
    found[rows] = labels
    return found
