"""Getting near a target."""

from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32


@float32
def regression(predicted: Tensor, target: Tensor) -> Tensor:
    """2 - 2 * cosine of `predicted` [n, d] and `target` [n, d], averaged over rows (Grill et al., NeurIPS 2020, eq. 2).

    It is the squared distance of the two on the unit sphere: 0 when they agree, 2 when orthogonal, 4 when opposite.
    """
    return (2 - 2 * F.cosine_similarity(predicted, target, dim=1)).mean()
