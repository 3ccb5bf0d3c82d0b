"""A two-dimensional map of embeddings, and nearest neighbours."""

import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ENOUGH = 50  # items for t-SNE; fewer are projected on their two principal components
COMPONENTS = 50


def project(features: Tensor, seed: int = 0) -> np.ndarray:
    """Features float [n, d] -> positions float [n, 2]: nearby positions mean high cosine similarity.

    t-SNE (van der Maaten & Hinton, JMLR 2008) on the first fifty principal components.
    """
    unit = F.normalize(features.double(), dim=1)
    left, scale, _ = torch.linalg.svd(unit - unit.mean(0), full_matrices=False)
    components = (left * scale)[:, :COMPONENTS].numpy()
    plane = np.zeros((len(components), 2))
    plane[:, : components.shape[1]] = components[:, :2]
    if len(components) < ENOUGH or plane[:, 0].std() < 1e-9:
        return plane
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tsne = TSNE(
            init=plane / plane[:, 0].std() * 1e-4, perplexity=min(30, len(plane) / 4), max_iter=500, random_state=seed
        )
        return tsne.fit_transform(components)


def neighbours(features: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` items nearest to each of `queries` by cosine, without the query itself.

    Args:
        features: float [n, d].
        queries: int64 [m], rows of `features`.

    Returns:
        cosines float [m, k] in [-1, 1], from near to far, and rows of `features` int64 [m, k], k = min(count, n - 1).
    """
    unit = F.normalize(features, dim=1)
    cosines = unit[queries] @ unit.T
    cosines[torch.arange(len(queries)), queries] = -torch.inf
    values, nearest = cosines.topk(min(count, len(features) - 1), dim=1)
    return values, nearest
