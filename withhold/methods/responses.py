"""Responses of fixed filters, as targets."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from withhold import views

SURVEYED = 256
"""Number of images from which the mean and the standard deviation of the responses are computed."""
FILTERS = {"edges": views.edges, "corners": views.corners}
"""Functions of images float [n, c, h, w] in [0, 1] that return responses [n, 1, h, w]."""


class Responses(nn.Module):
    """The responses of `FILTERS`, standardised over the data: images float [n, c, h, w] in [0, 1] -> [n, f, h, w].

    Args:
        names: the filters.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, names: Sequence[str]):
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("mean", torch.zeros(len(names), 1, 1))
        self.register_buffer("deviation", torch.ones(len(names), 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (self.found(images) - self.mean) / self.deviation

    def survey(self, images: Tensor) -> None:
        """Compute the mean and the standard deviation of the responses to these images."""
        found = self.found(images)
        self.mean = found.mean((0, 2, 3))[:, None, None]
        self.deviation = (found - self.mean).square().mean((0, 2, 3))[:, None, None].sqrt().clamp(min=1e-6)

    def found(self, images: Tensor) -> Tensor:
        """The responses, not standardised."""
        return torch.cat([images[:, :0], *(FILTERS[name](images) for name in self.names)], 1)

    def draw(self, responses: Tensor) -> Tensor:
        """Standardised responses [n, f, h, w] -> shares of the strongest one of each filter and image, in [0, 1]."""
        strength = (responses * self.deviation + self.mean).clamp(min=0)
        return strength / strength.amax((2, 3), keepdim=True).clamp(min=1e-3)
