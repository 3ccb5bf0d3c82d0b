"""Statistics of the covariance of embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


def off_diagonal(matrix: Tensor) -> Tensor:
    """The sum of the squared off-diagonal entries of a matrix [d, d]."""
    return matrix.square().sum() - matrix.diagonal().square().sum()


@torch.no_grad()
@float32
def directions(embedded: Tensor) -> Tensor:
    """The effective number of dimensions of normalised, centred embeddings [n, d]: 1 for a line, up to d.

    The participation ratio of the eigenvalues l of their covariance: sum(l)^2 / sum(l^2). It is 0 if all embeddings are
    equal.
    """
    centred = F.normalize(embedded, dim=1)
    centred = centred - centred.mean(0)
    covariance = centred.T @ centred
    return covariance.trace().square() / covariance.square().sum().clamp(min=1e-12)
