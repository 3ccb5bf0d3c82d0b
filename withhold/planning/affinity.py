"""Affinities: how well features serve a target, from nothing but the order of errors.

Source: Zamir et al., CVPR 2018, section 3.3: losses of different tasks have different units, and saturate differently.
"""

import numpy as np

LEAST = 1e-3
"""The smallest share of items that one is said to win, and 1 - it the largest."""


def win_rates(errors: np.ndarray) -> np.ndarray:
    """Errors [m, n] of m candidates on n items -> on which share of them each row beats each column [m, m].

    Where both are as good, each has half a win.
    """
    return np.array([((row < errors).mean(1) + (row <= errors).mean(1)) / 2 for row in errors])


def affinities(rates: np.ndarray) -> np.ndarray:
    """Win rates [m, m] -> the affinities of the candidates [m], which have the sum 1.

    They are the principal eigenvector of the odds: how many times as often one wins as it loses (the analytic hierarchy
    process: Saaty, Mathematical Modelling 1987).
    """
    rates = rates.clip(LEAST, 1 - LEAST)
    values, vectors = np.linalg.eig(rates / rates.T)
    principal = np.abs(vectors[:, values.real.argmax()].real)
    return principal / principal.sum()
