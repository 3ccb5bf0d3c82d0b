"""Feature extraction: run a network on every sample of a stream."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from withhold import views
from withhold.errors import UsageError, WithholdError
from withhold.nets.encoder import Encoder

VALUES = 2**24
"""Most input values in a batch."""


def features(encoder: Encoder, stream: Any, *, device: str | torch.device = "cpu", batch_size: int = 256) -> Tensor:
    """The encoder's features of every sample, or of the part of it that the encoder takes: float32 [n, dim] on the CPU.

    See `rows` for the details.

    Raises:
        UsageError: the sounds have another sample rate than the encoder.
    """
    part = stream.of(encoder.kind)
    wanted = getattr(encoder, "rate", None)
    if part.kind == "audio" and wanted not in (None, part.rate):
        raise UsageError(
            f"{part.source} was read at {part.rate:,g} samples a second, but the encoder takes {wanted:,}. Read it "
            f"with rate={wanted}."
        )
    return rows(encoder, encoder, part, device, batch_size)


def rows(
    module: nn.Module, function: Callable[[Any], Tensor], stream: Any, device: str | torch.device, batch_size: int = 256
) -> Tensor:
    """Apply `function`, which uses `module`, to every sample: float32 [n, ...] on the CPU.

    Runs in eval mode, without gradients and in float32. For samples cut into windows, the mean over their windows.

    Args:
        module: the network; it is moved to `device`, and the modes of its parts are restored afterwards.
        function: maps batches of the stream, converted by `views.to_float`, to [n, ...].
        stream: as passed to `prepare`; it has a length, a sample shape, `batch(indices)` and `windows()`.
        batch_size: most windows in a batch.

    Raises:
        WithholdError: features are not finite.
    """
    module.to(device)
    windows = stream.windows()
    with frozen(module), torch.autocast(torch.device(device).type, enabled=False):
        order = torch.arange(len(windows))
        parts = [function(items).float().cpu() for items in batches(windows, order, device, batch_size)]
    found = torch.cat(parts)  # outside inference mode, so that it can be used in training
    if windows is not stream:
        found = averaged(found, torch.from_numpy(windows.owners), len(stream))
    bad = int((~found.reshape(len(found), -1).isfinite().all(1)).sum())
    if bad:
        raise WithholdError(
            f"The encoder's features of {bad} of {len(stream)} items are not finite: its training diverged. "
            "Train again with a lower --lr."
        )
    return found


def averaged(values: Tensor, owners: Tensor, count: int) -> Tensor:
    """The mean [count, ...] of the values [n, ...] of each item's windows; `owners`, int64 [n], has their items."""
    sums = values.new_zeros(count, *values.shape[1:]).index_add_(0, owners, values)
    return sums / owners.bincount(minlength=count).view(-1, *[1] * (values.ndim - 1))


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """A context in eval mode without gradients; the mode of every part is restored afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def batches(stream: Any, indices: Tensor, device: str | torch.device, batch_size: int = 256) -> Iterator[Any]:
    """The samples at `indices` in batches of nearly equal size, on the device and converted by `views.to_float`."""
    most = max(1, min(batch_size, VALUES // int(np.prod(stream.shape))))
    for part in indices.tensor_split(math.ceil(len(indices) / most)):
        items = stream.batch(part.numpy())
        yield views.to_float(tree_map_only(Tensor, lambda x: x.to(device, non_blocking=True), items))
