"""Agreement of two masks, as in DAVIS (Perazzi et al., CVPR 2016, section 4)."""

import math

from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 0.008
"""The tolerated distance between boundaries, as a share of the image's diagonal; rounded up to pixels."""


def region(mask: Tensor, truth: Tensor) -> float:
    """J: the intersection of two masks, bool [h, w], divided by their union; 1 if both are empty."""
    union = (mask | truth).sum().item()
    return (mask & truth).sum().item() / union if union else 1.0


def boundary(mask: Tensor, truth: Tensor) -> float:
    """F: the harmonic mean of precision and recall of the boundary of a mask, bool [h, w] both.

    A boundary pixel is right if it is within the tolerance of a pixel of the other boundary. The precision of an empty
    mask is 1, and so is the recall of an empty truth.
    """
    first, second = outline(mask), outline(truth)
    reach = math.ceil(TOLERANCE * math.hypot(*mask.shape))
    precision, recall = _within(first, second, reach), _within(second, first, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: Tensor) -> Tensor:
    """The pixels of a mask, bool [h, w], that differ from the pixel on the right, below, or diagonally below right."""
    beyond = F.pad(mask[None, None].float(), (0, 1, 0, 1), mode="replicate")[0, 0] > 0
    return (mask != beyond[:-1, 1:]) | (mask != beyond[1:, :-1]) | (mask != beyond[1:, 1:])


def _within(these: Tensor, those: Tensor, reach: int) -> float:
    """The share of `these` pixels that are within `reach` of one of `those`; 1 if there are no `these`."""
    from scipy.ndimage import distance_transform_edt

    if not these.any() or not those.any():
        return 0.0 if these.any() else 1.0
    return float((distance_transform_edt(~those.numpy()) <= reach)[these.numpy()].mean())
