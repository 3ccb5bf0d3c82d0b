"""From samples to feature vectors: an encoder's features of every item."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map, tree_map_only

from withhold import views
from withhold.data import Samples
from withhold.errors import WithholdError
from withhold.methods import Classifier
from withhold.nets import Encoder


def features(
    encoder: nn.Module, samples: Samples, *, device: str | torch.device = "cpu", batch_size: int = 256
) -> Tensor:
    """The encoder's features of every sample, float32 [n, dim] on the CPU, in eval mode and float32 throughout.

    Of an item that is cut into windows they are the mean over these.

    Args:
        encoder: what `views.to_float` gives, such as images float [n, c, h, w] in [0, 1] -> [n, dim]. It is
            moved to `device`; its modes are put back.

    Raises:
        WithholdError: features that are not finite.
    """
    return rows(encoder, encoder, samples, device, batch_size)


def pooled(
    encoder: Encoder, pool: Callable[[Tensor], Tensor], samples: Samples, *, device: str | torch.device = "cpu"
) -> Tensor:
    """What `pool` makes of the encoder's maps [n, dim, h, w] of every sample, float32 [n, ...] on the CPU, likewise."""
    return rows(encoder, lambda images: pool(encoder.maps(images)), samples, device)


def scores(classifier: Classifier, samples: Samples, *, device: str | torch.device = "cpu") -> Tensor:
    """The classifier's scores of every sample, float32 [n, k] on the CPU, likewise."""
    return rows(classifier, classifier.classify, samples, device)


def rows(
    module: nn.Module,
    function: Callable[[Tensor], Tensor],
    samples: Samples,
    device: str | torch.device,
    batch_size: int = 256,
) -> Tensor:
    """What `function`, of which `module` is a part, makes of every item: see `features`."""
    module.to(device)
    windows = samples.windows()
    with frozen(module):
        parts = [
            function(items).float().cpu() for items in batches(windows, torch.arange(len(windows)), device, batch_size)
        ]
    found = torch.cat(parts)  # outside, so that it can be learned on
    if windows is not samples:  # an item's features are the mean over its windows
        owners = torch.from_numpy(windows.owners)
        sums = found.new_zeros(len(samples), *found.shape[1:]).index_add_(0, owners, found)
        found = sums / owners.bincount(minlength=len(samples)).view(-1, *[1] * (found.ndim - 1))
    bad = int((~found.flatten(1).isfinite().all(1)).sum())
    if bad:
        raise WithholdError(
            f"The encoder's features of {bad} of {len(samples)} items are not finite: its training diverged; "
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


def plain_batches(streams: Sequence[Samples], device: str | torch.device, most: int = 2048) -> Iterator[Any]:
    """At most `most` random items of each stream, or clips with so many frames, as networks take them.

    Each batch has a part of every stream, as in training, so that in batch statistics what two domains differ in
    counts as variance.
    """
    drawn = []
    for samples in streams:
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
        drawn.append(batches(samples, order[: max(1, most // _images(samples))].sort().values, device))
    for parts in zip_longest(*drawn):
        yield tree_map(lambda *parts: torch.cat(parts), *(part for part in parts if part is not None))


def _images(samples: Samples) -> int:
    """How many images an item stands for: as many as a clip has frames."""
    return samples.shape[0] if samples.kind.startswith("video") else 1


def batches(samples: Samples, indices: Tensor, device: str | torch.device, batch_size: int = 256) -> Iterator[Any]:
    """The items at `indices` in batches on the device, as networks take them."""
    for part in indices.split(max(1, batch_size // _images(samples))):
        items = samples.batch(part.numpy())
        yield views.to_float(tree_map_only(Tensor, lambda x: x.to(device, non_blocking=True), items))
