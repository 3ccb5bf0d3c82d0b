"""The choice of sources for targets under a budget, as an integer programme."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def choose(transfers: Sequence[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """One transfer for each target, with the largest total affinity, from at most `budget` sources.

    Args:
        transfers: rows with the names of one or several "sources", a "target" and an "affinity".

    Raises:
        ValueError: no plan within the budget serves every target.

    Source: Zamir et al., CVPR 2018, equation 3, with equal costs of sources and equal weights of targets.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    sources = sorted({source for transfer in transfers for source in transfer["sources"]})
    targets = sorted({transfer["target"] for transfer in transfers})
    # The unknowns: which transfers are chosen, then which sources are trained.
    needs = np.array([[source in transfer["sources"] for source in sources] for transfer in transfers], dtype=float)
    serves = np.array([[transfer["target"] == target for transfer in transfers] for target in targets], dtype=float)
    cost = np.append(np.zeros(len(transfers)), np.ones(len(sources)))
    constraints = [
        LinearConstraint(np.hstack([np.diag(needs.sum(1)), -needs]), ub=0),  # a transfer needs all its sources
        LinearConstraint(np.hstack([serves, np.zeros((len(targets), len(sources)))]), 1, 1),
        LinearConstraint(cost[None], ub=budget),
    ]
    worth = np.append([-transfer["affinity"] for transfer in transfers], np.zeros(len(sources)))
    found = milp(worth, integrality=np.ones(len(worth)), bounds=Bounds(0, 1), constraints=constraints)
    if found.x is None:
        raise ValueError(f"no plan from {budget} sources serves every target")
    return [transfer for transfer, chosen in zip(transfers, found.x, strict=False) if chosen > 0.5]
