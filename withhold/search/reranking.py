"""Re-ranking of query results: query expansion, and diffusion on the graph of neighbours."""

import numpy as np

NEIGHBOURS, QUERIED = 50, 10
"""Neighbours of a row, and of the query, in the graph of diffusion."""
POWER, KEPT = 3, 0.99
"""Exponent of cosines as weights, and share that is passed on to neighbours: the paper's gamma and alpha."""


def expand(query: np.ndarray, nearest: np.ndarray, alpha: float) -> np.ndarray:
    """The normalised mean [d] of the query and its nearest rows, weighted by their cosines to the power of `alpha`.

    With 0 this is average query expansion (Chum et al., ICCV 2007), otherwise alpha query expansion (Radenovic, Tolias
    & Chum, TPAMI 2018, section 4.4).

    Args:
        query: [d], normalised.
        nearest: [n, d], normalised.
    """
    weights = (nearest @ query).clip(0) ** alpha
    mean = query + weights @ nearest
    return mean / np.linalg.norm(mean)


def diffuse(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Scores of each row [n] by diffusion from the query (Iscen et al., CVPR 2017).

    Rows are linked if each is among the other's 50 nearest, with the weight cosine^3. With these weights W [n, n], and
    S = D^-1/2 W D^-1/2 with the row sums D, the scores f solve (1 - 0.99 S) f = y by conjugate gradients; y [n] are the
    weights of the query's 10 nearest rows.

    Args:
        query: [d], normalised.
        rows: [n, d], normalised.
    """
    from scipy.sparse import csr_array, diags_array, eye_array
    from scipy.sparse.linalg import cg
    from sklearn.neighbors import kneighbors_graph

    near = csr_array(kneighbors_graph(rows, min(NEIGHBOURS, len(rows) - 1), mode="distance", metric="cosine"))
    near.data = (1 - near.data).clip(0) ** POWER
    weights = near.minimum(near.T)
    scale = diags_array(1 / np.sqrt(np.maximum(weights.sum(axis=1), 1e-12)))
    cosines = rows @ query
    start = np.where(cosines >= np.sort(cosines)[-min(QUERIED, len(rows))], cosines.clip(0) ** POWER, 0)
    found, _ = cg(eye_array(len(rows)) - KEPT * (scale @ weights @ scale), start, rtol=1e-6)
    return found
