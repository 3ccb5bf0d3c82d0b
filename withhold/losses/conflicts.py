"""Conflicting gradients of several tasks."""

import torch
from torch import Tensor


def without_conflicts(gradients: Tensor, rng: torch.Generator) -> Tensor:
    """PCGrad: gradients of the tasks [t, p] -> their sum [p], after the removal of components in conflict.

    A component opposed to another task's original gradient is projected out, in random order of the other tasks (Yu et
    al., NeurIPS 2020, algorithm 1).
    """
    rest = gradients.clone()
    for mine in range(len(gradients)):
        for other in torch.randperm(len(gradients), generator=rng, device=rng.device).tolist():
            along = rest[mine] @ gradients[other]
            if other != mine and along < 0:
                rest[mine] -= along / gradients[other].square().sum() * gradients[other]
    return rest.sum(0)
