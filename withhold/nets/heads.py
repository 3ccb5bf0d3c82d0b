"""Small networks on top of an encoder's features."""

import itertools
from collections.abc import Sequence

from torch import nn


def mlp(sizes: Sequence[int], *, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """A perceptron [n, sizes[0]] -> [n, sizes[-1]] with ReLU between its layers: a projector or a predictor.

    Args:
        sizes: features at the input, of every hidden layer, and at the output.
        norm: whether every hidden layer is normalised over the batch.
        last_norm: whether the output is too, without scale and shift (MoCo version 3).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not norm)]
        layers += [nn.BatchNorm1d(outputs)] if norm else []
        layers += [nn.ReLU(inplace=True)]
    layers += [nn.Linear(sizes[-2], sizes[-1], bias=not last_norm)]
    layers += [nn.BatchNorm1d(sizes[-1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)
