"""From samples to what an evaluation looks at."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from withhold import kinds, nets
from withhold.data import Samples
from withhold.methods import Classifier


def scores(classifier: Classifier, samples: Samples, *, device: str | torch.device = "cpu") -> Tensor:
    """The classifier's scores of every sample, float32 [n, k] on the CPU: see `nets.rows`."""
    return nets.rows(classifier, classifier.classify, samples.of(classifier.encoder.kind), device)


def plain_batches(streams: Sequence[Samples], device: str | torch.device, most: int = 2048) -> Iterator[Any]:
    """At most `most` random items of each stream, or clips with so many frames, as networks take them.

    Each batch has a part of every stream, as in training, and classes as they come at random, so that in batch
    statistics what two domains or two classes differ in counts as variance.
    """
    drawn = []
    for samples in streams:
        images = kinds.of(samples.kind).images(samples)
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
        drawn.append(nets.batches(samples, order[: max(1, most // images)], device, 256 // images))
    for parts in zip_longest(*drawn):
        yield tree_map(lambda *parts: torch.cat(parts), *(part for part in parts if part is not None))
