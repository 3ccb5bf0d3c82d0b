"""SIGReg: a test of embeddings for an isotropic Gaussian (Balestriero & LeCun, arXiv 2511.08544, 2025)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold.losses.precision import float32

POINTS, END = 17, 3.0


@float32
def sigreg(z: Tensor, rng: torch.Generator, slices: int = 1024) -> Tensor:
    """The Epps-Pulley statistic for a standard normal distribution, averaged over random directions.

    In each direction, the empirical characteristic function is compared with the normal one, exp(-t^2 / 2), under a
    Gaussian weight, by the trapezoid rule over [-3, 3]. The statistic grows with n, but for perfectly normal embeddings
    it is about 1.05 for every n. It depends on mean and scale, so do not normalise the embeddings.

    Args:
        z: embeddings [n, d].
        rng: draws the directions, on z's device.
        slices: number of directions.
    """
    directions = F.normalize(torch.randn(z.shape[1], slices, generator=rng, device=z.device), dim=0)
    t, normal, weight = _quadrature(z.device)
    angles = (z @ directions)[:, :, None] * t
    distance = (angles.cos().mean(0) - normal).square() + angles.sin().mean(0).square()
    return len(z) * (distance @ weight).mean()


@float32
def sigreg_of_noise(scale: Tensor, n: int) -> Tensor:
    """The expected `sigreg` of n samples of a Gaussian with standard deviation `scale`, a tensor of any shape.

    It is the squared distance of its characteristic function, exp(-(scale * t)^2 / 2), from the normal one, plus the
    variance of the mean over n samples.
    """
    t, normal, weight = _quadrature(scale.device)
    own = torch.exp(-(scale[..., None] * t).square() / 2)
    return (n * (own - normal).square() + 1 - own.square()) @ weight


def _quadrature(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The points t [POINTS], the normal characteristic function at them, and the weights of the integral."""
    t = torch.linspace(0, END, POINTS, device=device)
    normal = torch.exp(-t.square() / 2)
    weight = 2 * END / (POINTS - 1) * normal
    weight[0] /= 2
    weight[-1] /= 2
    return t, normal, weight
