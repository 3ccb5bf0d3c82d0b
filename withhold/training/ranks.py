"""Changes to a network that several processes train together."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from withhold.losses import gather, ranks
from withhold.nets import HeldStatistics


class BatchNormAcrossRanks(_BatchNorm):
    """Batch normalisation with the mean and variance of the batches of all ranks.

    This is torch's SyncBatchNorm for any device. Two processes act as one batch of twice the size, and the statistics
    of a rank do not reveal which views belong together.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims = [0, *range(2, x.ndim)]
        variances, means = gather(torch.stack(torch.var_mean(x.float(), dims, correction=0))[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(
            0
        )  # mean of squares minus squared mean would lose precision
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                count = ranks() * x.numel() / x.shape[1]
                self.num_batches_tracked += 1
                momentum = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
        shape = [1, -1] + [1] * (x.ndim - 2)
        scaled = (x - mean.reshape(shape)) * (variance + self.eps).rsqrt().reshape(shape)
        if self.weight is not None:
            scaled = scaled * self.weight.reshape(shape)
        return scaled if self.bias is None else scaled + self.bias.reshape(shape)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Make every batch normalisation inside `module` work across ranks, in place; parameters and names stay the same.

    A custom subclass keeps what its `forward` does around that of its base class. A class that normalises by itself,
    like torch's SyncBatchNorm, is not changed.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm) and not isinstance(part, BatchNormAcrossRanks | HeldStatistics):
            kind = type(part)
            part.__class__ = type(kind.__name__, (kind, BatchNormAcrossRanks), {})  # comes between `kind` and its base


def dense_gradients(module: nn.Module) -> None:
    """Give every embedding inside `module` dense gradients, in place: NCCL, unlike gloo, cannot add sparse ones."""
    for part in module.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            part.sparse = False
