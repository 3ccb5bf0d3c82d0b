"""Which sources to learn for which targets, when only some can be learned: an integer programme."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Transfer:
    """From the features of one source or several to a target, and what that is worth."""

    sources: tuple[str, ...]
    target: str
    affinity: float


def choose(transfers: Sequence[Transfer], budget: int) -> list[Transfer]:
    """The transfers, one for each target, that are worth most in sum, from `budget` sources at most.

    Raises:
        ValueError: some target has none from so few sources.

    Source: Zamir et al., CVPR 2018, equation 3; every source costs as much, and every target counts as much.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    sources = sorted({source for transfer in transfers for source in transfer.sources})
    targets = sorted({transfer.target for transfer in transfers})
    # The unknowns: which transfers are chosen, then which sources are learned.
    needs = np.array([[source in transfer.sources for source in sources] for transfer in transfers], dtype=float)
    serves = np.array([[transfer.target == target for transfer in transfers] for target in targets], dtype=float)
    cost = np.append(np.zeros(len(transfers)), np.ones(len(sources)))
    constraints = [
        LinearConstraint(np.hstack([np.diag(needs.sum(1)), -needs]), ub=0),  # a transfer needs all its sources
        LinearConstraint(np.hstack([serves, np.zeros((len(targets), len(sources)))]), 1, 1),
        LinearConstraint(cost[None], ub=budget),
    ]
    worth = np.append([-transfer.affinity for transfer in transfers], np.zeros(len(sources)))
    found = milp(worth, integrality=np.ones(len(worth)), bounds=Bounds(0, 1), constraints=constraints)
    if found.x is None:
        raise ValueError(f"no plan from {budget} sources serves every target")
    return [transfer for transfer, chosen in zip(transfers, found.x, strict=False) if chosen > 0.5]
