"""Communication between the processes of a distributed training."""

import torch
from torch import Tensor, distributed


def ranks() -> int:
    """The number of processes that train together; 1 without distributed training."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The index of this process, from 0."""
    return distributed.get_rank() if ranks() > 1 else 0


def gather(x: Tensor) -> Tensor:
    """The rows [n, ...] of every rank, in the order of ranks, [ranks * n, ...]; `x` itself in a single process.

    Gradients flow back to the rank that a row comes from, summed over all ranks. Every rank must pass the same number
    of rows.
    """
    return x if ranks() == 1 else _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        rows = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(ranks())]
        distributed.all_gather(rows, x.contiguous())
        return torch.cat(rows)

    @staticmethod
    def setup_context(context, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing of the forward pass is needed later."""

    @staticmethod
    def jvp(context, slope: Tensor) -> Tensor:
        return _Gather.forward(slope)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # autograd may hand the same one to others
        distributed.all_reduce(gradient)
        return gradient.chunk(ranks())[rank()]
