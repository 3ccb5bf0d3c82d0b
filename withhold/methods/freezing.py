"""Base class of methods that continue from a trained encoder, and may freeze a part of it."""

from collections.abc import Sequence
from typing import Annotated, Literal

from torch import nn

from withhold import nets
from withhold.errors import UsageError
from withhold.methods.base import Method
from withhold.methods.ranges import Range

Stages = Annotated[int, Range(least=0)] | Literal["all"] | None
"""Number of frozen stages of an encoder, counted from the input; "all" of them, or None for none."""


class Freezing(Method):
    """A method that can freeze the first stages of its encoder."""

    frozen: Sequence[nn.Module | nn.Parameter] = ()

    def freeze(self, stages: Stages) -> None:
        """Freeze stages of the encoder, including the statistics of their batch normalisation.

        Raises:
            UsageError: the encoder has fewer stages.
        """
        parts = self.encoder.stages()
        if isinstance(stages, int) and stages > len(parts):
            raise UsageError(f"{self.name}: the encoder has {len(parts)} stages, not {stages}. Freeze fewer, or all.")
        self.frozen = [self.encoder] if stages == "all" else [part for stage in parts[: stages or 0] for part in stage]
        for part in self.frozen:
            part.requires_grad_(False)
            if isinstance(part, nn.Module):
                nets.hold_statistics(part)

    def train(self, mode: bool = True):
        """Set the mode; frozen parts stay in eval mode, without dropout."""
        super().train(mode)
        for part in self.frozen:
            if isinstance(part, nn.Module):
                part.eval()
        return self
