"""Small networks on top of an encoder's features."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelWise(nn.Module):
    """A fully connected layer within every channel of maps [n, c, g, g], which connects each cell to all others.

    Source: Pathak et al., CVPR 2016, section 3.1.
    """

    def __init__(self, channels: int, grid: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, grid**2, grid**2) / grid)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.einsum("ncp,cpq->ncq", maps.flatten(2), self.weight).view_as(maps)


class Prototypes(nn.Module):
    """Cosine similarities of features [n, dim] with `count` learned prototypes: [n, count]."""

    def __init__(self, dim: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1) @ F.normalize(self.weight, dim=1).T


def mlp(sizes: Sequence[int], *, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """A multilayer perceptron [n, sizes[0]] -> [n, sizes[-1]] with ReLU between layers: a projector or a predictor.

    Args:
        sizes: features of the input, of every hidden layer, and of the output.
        norm: whether hidden layers have batch normalisation.
        last_norm: whether the output has batch normalisation, without scale and shift (MoCo version 3).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not norm)]
        layers += [nn.BatchNorm1d(outputs)] if norm else []
        layers += [nn.ReLU(inplace=True)]
    layers += [nn.Linear(sizes[-2], sizes[-1], bias=not last_norm)]
    layers += [nn.BatchNorm1d(sizes[-1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)
