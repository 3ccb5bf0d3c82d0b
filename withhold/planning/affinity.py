"""Affinities: how useful features are for a target, computed from the order of errors only.

The order is used since losses of different tasks have different units and saturate differently.

Source: Zamir et al., CVPR 2018, section 3.3.
"""

import numpy as np

LEAST = 1e-3
"""Smallest win rate; the largest is 1 less this."""


def win_rates(errors: np.ndarray) -> np.ndarray:
    """Errors [m, n] of m candidates on n items -> the share of items on which each row beats each column [m, m].

    A tie counts as half a win.
    """
    return np.array([((row < errors).mean(1) + (row <= errors).mean(1)) / 2 for row in errors])


def affinities(rates: np.ndarray) -> np.ndarray:
    """Win rates [m, m] -> the affinities of the candidates [m], which sum to 1.

    They are the principal eigenvector of the odds of winning (the analytic hierarchy process: Saaty, Mathematical
    Modelling 1987).
    """
    rates = rates.clip(LEAST, 1 - LEAST)
    values, vectors = np.linalg.eig(rates / rates.T)
    principal = np.abs(vectors[:, values.real.argmax()].real)
    return principal / principal.sum()
