"""Better rankings of what lies near a query: query expansion, and diffusion over the graph of neighbours."""

import numpy as np

NEIGHBOURS, QUERIED = 50, 10
"""Of a row, and of a query, in the graph of diffusion."""
POWER, KEPT = 3, 0.99
"""Of cosines as weights, and how much of what a row has goes on to its neighbours: the paper's gamma and alpha."""


def expand(query: np.ndarray, nearest: np.ndarray, alpha: float) -> np.ndarray:
    """The direction [d] of the query and its nearest rows, each weighed by its cosine to the power of `alpha`.

    At 0 that is average query expansion (Chum et al., ICCV 2007), else alpha-weighted (Radenovic, Tolias & Chum, TPAMI
    2018, section 4.4).

    Args:
        query: [d], and `nearest` [n, d]: of length 1.
    """
    weights = (nearest @ query).clip(0) ** alpha
    mean = query + weights @ nearest
    return mean / np.linalg.norm(mean)


def diffuse(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How much of what flows out of the query arrives at each row [n] (Iscen et al., CVPR 2017).

    Each row is linked with those among its 50 nearest that have it among theirs, by cosines to the power of 3. With
    W these weights [n, n], and S = D^-1/2 W D^-1/2 for D the sums of its rows, it is the f of (1 - 0.99 S) f = y, found
    by conjugate gradients; y [n] are the weights of the query's 10 nearest rows.

    Args:
        query: [d], and `rows` [n, d]: of length 1.
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
