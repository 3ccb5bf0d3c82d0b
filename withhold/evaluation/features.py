"""From samples to feature vectors: an encoder's features of every item."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from withhold import kinds, nets
from withhold.data import Samples
from withhold.methods import Classifier
from withhold.nets import Encoder


def features(
    encoder: Encoder, samples: Samples, *, device: str | torch.device = "cpu", batch_size: int = 256
) -> Tensor:
    """The encoder's features of every sample, float32 [n, dim] on the CPU: see `nets.rows`.

    Args:
        samples: of the kind that the encoder takes, or with a part that is.
        batch_size: images at a time, or clips with so many frames.
    """
    return _rows(encoder, encoder, samples.of(encoder.kind), device, batch_size)


def pooled(
    encoder: Encoder, pool: Callable[[Tensor], Tensor], samples: Samples, *, device: str | torch.device = "cpu"
) -> Tensor:
    """What `pool` makes of the encoder's maps [n, dim, h, w] of every sample, float32 [n, ...] on the CPU, likewise."""
    return _rows(encoder, lambda images: pool(encoder.maps(images)), samples, device)


def scores(classifier: Classifier, samples: Samples, *, device: str | torch.device = "cpu") -> Tensor:
    """The classifier's scores of every sample, float32 [n, k] on the CPU, likewise."""
    return _rows(classifier, classifier.classify, samples.of(classifier.encoder.kind), device)


def _rows(
    module: nn.Module,
    function: Callable[[Any], Tensor],
    samples: Samples,
    device: str | torch.device,
    batch_size: int = 256,
) -> Tensor:
    return nets.rows(module, function, samples, device, batch_size // kinds.of(samples.kind).images(samples))


def plain_batches(streams: Sequence[Samples], device: str | torch.device, most: int = 2048) -> Iterator[Any]:
    """At most `most` random items of each stream, or clips with so many frames, as networks take them.

    Each batch has a part of every stream, as in training, so that in batch statistics what two domains differ in
    counts as variance.
    """
    drawn = []
    for samples in streams:
        images = kinds.of(samples.kind).images(samples)
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
        some = order[: max(1, most // images)].sort().values
        drawn.append(nets.batches(samples, some, device, 256 // images))
    for parts in zip_longest(*drawn):
        yield tree_map(lambda *parts: torch.cat(parts), *(part for part in parts if part is not None))
