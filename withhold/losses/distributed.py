"""What several processes have together."""

import torch
from torch import Tensor, distributed


def ranks() -> int:
    """How many processes train together; 1 where there is only this one."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if ranks() > 1 else 0


def gather(x: Tensor) -> Tensor:
    """The rows [n, ...] of every rank, in the order of ranks, [ranks * n, ...]; `x` itself in a single process.

    A gradient flows back to the rank that a row came from, summed over the ranks that used it. Every rank must bring
    as many rows.
    """
    return x if ranks() == 1 else _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor) -> Tensor:
        rows = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(ranks())]
        distributed.all_gather(rows, x.contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # autograd may hand the same one to others
        distributed.all_reduce(gradient)
        return gradient.chunk(ranks())[rank()]
