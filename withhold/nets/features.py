"""From a stream to feature vectors: what a network makes of every item."""

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
"""Numbers that a network is given at a time, at most."""


def features(encoder: Encoder, stream: Any, *, device: str | torch.device = "cpu", batch_size: int = 256) -> Tensor:
    """The encoder's features of every item, or of the part of it that the encoder takes: float32 [n, dim] on the CPU.

    The rest is said by `rows`.

    Raises:
        UsageError: sounds have another rate than the encoder's.
    """
    part = stream.of(encoder.kind)
    wanted = getattr(encoder, "rate", None)
    if part.kind == "audio" and wanted not in (None, part.rate):
        raise UsageError(
            f"{part.source} was read at {part.rate:,g} samples a second, and the encoder takes {wanted:,}: read it "
            f"with rate={wanted}."
        )
    return rows(encoder, encoder, part, device, batch_size)


def rows(
    module: nn.Module, function: Callable[[Any], Tensor], stream: Any, device: str | torch.device, batch_size: int = 256
) -> Tensor:
    """What `function`, of which `module` is a part, makes of every item, float32 [n, ...] on the CPU.

    In eval mode, without gradient and in float32 throughout; of an item that is cut into windows, the mean over these.

    Args:
        module: is moved to `device`; the modes of its parts are put back.
        function: what `views.to_float` makes of the stream's batches -> [n, ...].
        stream: what `prepare` gets: it has a length, a shape of its items, `batch(indices)` and `windows()`.
        batch_size: windows at a time, at most.

    Raises:
        WithholdError: features that are not finite.
    """
    module.to(device)
    windows = stream.windows()
    with frozen(module), torch.autocast(torch.device(device).type, enabled=False):
        order = torch.arange(len(windows))
        parts = [function(items).float().cpu() for items in batches(windows, order, device, batch_size)]
    found = torch.cat(parts)  # outside, so that it can be learned on
    if windows is not stream:
        owners = torch.from_numpy(windows.owners)
        sums = found.new_zeros(len(stream), *found.shape[1:]).index_add_(0, owners, found)
        found = sums / owners.bincount(minlength=len(stream)).view(-1, *[1] * (found.ndim - 1))
    bad = int((~found.reshape(len(found), -1).isfinite().all(1)).sum())
    if bad:
        raise WithholdError(
            f"The encoder's features of {bad} of {len(stream)} items are not finite: its training diverged; "
            "train again with a lower --lr."
        )
    return found


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradient for a while; every part's own mode is put back after."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def batches(stream: Any, indices: Tensor, device: str | torch.device, batch_size: int = 256) -> Iterator[Any]:
    """The items at `indices` in batches of nearly equal size on the device, as networks take them."""
    most = max(1, min(batch_size, VALUES // int(np.prod(stream.shape))))
    for part in indices.tensor_split(math.ceil(len(indices) / most)):
        items = stream.batch(part.numpy())
        yield views.to_float(tree_map_only(Tensor, lambda x: x.to(device, non_blocking=True), items))
