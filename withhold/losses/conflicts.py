"""Tasks whose gradients disagree."""

import torch
from torch import Tensor


def without_conflicts(gradients: Tensor, rng: torch.Generator) -> Tensor:
    """Gradients of the tasks [t, p] -> the sum of each without what points against another one [p].

    The others are taken in random order, each as it was (PCGrad: Yu et al., NeurIPS 2020, algorithm 1).
    """
    rest = gradients.clone()
    for mine in range(len(gradients)):
        for other in torch.randperm(len(gradients), generator=rng, device=rng.device).tolist():
            along = rest[mine] @ gradients[other]
            if other != mine and along < 0:
                rest[mine] -= along / gradients[other].square().sum() * gradients[other]
    return rest.sum(0)
