"""Scores and batches of samples for an evaluation."""

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
    """Return the classifier's scores of every sample, float32 [n, k] on the CPU: see `nets.rows`."""
    return nets.rows(classifier, classifier.classify, samples.of(classifier.encoder.kind), device)


def plain_batches(streams: Sequence[Samples], device: str | torch.device, most: int = 2048) -> Iterator[Any]:
    """Yield batches of at most `most` random items of each stream (for clips, `most` frames), as networks take them.

    Each batch has items of every stream, as in training, and of random classes. So the batch statistics include the
    variance between domains and between classes.
    """
    drawn = []
    for samples in streams:
        images = kinds.of(samples.kind).images(samples)
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
        drawn.append(nets.batches(samples, order[: max(1, most // images)], device, 256 // images))
    for parts in zip_longest(*drawn):
        yield tree_map(lambda *parts: torch.cat(parts), *(part for part in parts if part is not None))
