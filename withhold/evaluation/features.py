"""From samples to feature vectors: an encoder's, or the pixels themselves."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from withhold import views
from withhold.data import Pairs, Samples, Series
from withhold.errors import WithholdError
from withhold.methods import Classifier
from withhold.nets import Encoder
from withhold.nets.sounds import DEVIATION, MEAN

PIXEL_SIDE = 32


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
    return _rows(encoder, encoder, samples, device, batch_size)


def pooled(
    encoder: Encoder, pool: Callable[[Tensor], Tensor], samples: Samples, *, device: str | torch.device = "cpu"
) -> Tensor:
    """What `pool` makes of the encoder's maps [n, dim, h, w] of every sample, float32 [n, ...] on the CPU, likewise."""
    return _rows(encoder, lambda images: pool(encoder.maps(images)), samples, device)


def scores(classifier: Classifier, samples: Samples, *, device: str | torch.device = "cpu") -> Tensor:
    """The classifier's scores of every sample, float32 [n, k] on the CPU, likewise."""
    return _rows(classifier, classifier.classify, samples, device)


def _rows(
    module: nn.Module,
    function: Callable[[Tensor], Tensor],
    samples: Samples,
    device: str | torch.device,
    batch_size: int = 256,
) -> Tensor:
    module.to(device)
    windows = samples.windows()
    with frozen(module):
        batches = _batches(windows, torch.arange(len(windows)), device, batch_size)
        parts = [function(items).float().cpu() for items in batches]
    rows = torch.cat(parts)  # outside, so that it can be learned on
    if windows is not samples:  # an item's features are the mean over its windows
        owners = torch.from_numpy(windows.owners)
        sums = rows.new_zeros(len(samples), *rows.shape[1:]).index_add_(0, owners, rows)
        rows = sums / owners.bincount(minlength=len(samples)).view(-1, *[1] * (rows.ndim - 1))
    bad = int((~rows.flatten(1).isfinite().all(1)).sum())
    if bad:
        raise WithholdError(
            f"The encoder's features of {bad} of {len(samples)} items are not finite: its training diverged; "
            "train again with a lower --lr."
        )
    return rows


RAW = {"audio": "spectrogram"}
"""What the control that learns nothing is called, by the kind of data; "pixels" where it is not listed."""


def pixels(samples: Samples) -> Tensor:
    """The control that learns nothing: pixels in [0, 1] as float32 [n, c*h*w], averaged down to 32 px at most.

    Of sounds, the mean and the deviation over time of each band of the log-mel spectrogram, [n, 2 * 40].
    """
    if isinstance(samples, Pairs):
        return torch.cat([pixels(samples.frames), pixels(samples.sound)], dim=1)
    if isinstance(samples, Series) and samples.kind == "audio":
        rate = round(samples.rate)
        return _rows(nn.Identity(), lambda sounds: _band_statistics(sounds, rate), samples, "cpu")
    rows = []
    for images in _batches(samples, torch.arange(len(samples)), "cpu"):
        side = [min(length, PIXEL_SIDE) for length in images.shape[2:]]
        rows.append(F.interpolate(images, side, mode="area").flatten(1))
    return torch.cat(rows)


def _band_statistics(sounds: Tensor, rate: int) -> Tensor:
    deviation, mean = torch.std_mean((views.log_mel(sounds, rate)[:, 0] - MEAN) / DEVIATION, dim=2)
    return torch.cat([mean, deviation], dim=1)


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


def plain_batches(samples: Samples, device: str | torch.device, most: int = 2048) -> Iterator[Any]:
    """At most `most` random items, as networks take them: for batch statistics."""
    chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:most].sort().values
    return _batches(samples, chosen, device)


def _batches(samples: Samples, indices: Tensor, device: str | torch.device, batch_size: int = 256) -> Iterator[Any]:
    for part in indices.split(batch_size):
        items = samples.batch(part.numpy())
        yield views.to_float(tree_map_only(Tensor, lambda x: x.to(device, non_blocking=True), items))
