"""A teacher: an exponential moving average of a network."""

import copy
import math
from typing import Any

import torch
from torch import nn


class Teacher(nn.Module):
    """A copy of `student`, updated as its exponential moving average, without gradients.

    Parameters and floating-point buffers (such as running statistics) are averaged; other buffers are copied. In
    training mode, the teacher's batch normalisation uses the statistics of its own batch, as the student's does.
    """

    def __init__(self, student: nn.Module):
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move towards the student by a share of 1 - `momentum`."""
        slow = [*self.network.parameters(), *self.network.buffers()]
        fast = [*student.parameters(), *student.buffers()]
        pairs = list(zip(slow, fast, strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1 - momentum)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)


def cosine_momentum(start: float, progress: float) -> float:
    """A momentum that rises from `start` to 1 along half a cosine as `progress` rises from 0 to 1 (Grill et al.)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
