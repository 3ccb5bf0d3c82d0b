"""Decoded items of different lengths: videos, sounds, texts; and several kinds of data of the same items."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from withhold.data.kind import Shape
from withhold.data.samples import Samples

TIMED = ("video", "audio")
"""Kinds whose rows have a time."""


class Series(Samples):
    """Items of different lengths in one flat array, read in windows of one length.

    Like Samples, a series is indexed by item, and returns the middle window of each; `windows()` are all windows of all
    items. An item shorter than a window is padded by its last frame (videos) or by zeros (sounds, texts).

    Args:
        values: the concatenated rows of all items: frames uint8 [rows, h, w, c], samples int16 [rows], tokens int32
            [rows].
        spans: int64 [n, 2], the first row of each item and the one after its last.
        window: rows of a window.
        rate: rows per second, for kinds with a time.
        sources, about: as for Samples.
    """

    def __init__(
        self, values: Any, spans: np.ndarray, window: int, kind: str, rate: float, sources: np.ndarray, **about: Any
    ):
        super().__init__(values, sources=sources, **about)
        self.spans, self.window, self.kind, self.rate = spans, window, kind, rate
        self.uncut: Series | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a window: [t, h, w, c], [s] or [l]."""
        return (self.window, *self.values.shape[1:])

    def read(self, indices: np.ndarray) -> np.ndarray:
        """A copy of the middle windows of the items at int64 `indices`: [m, window, ...]."""
        found = np.zeros((len(indices), *self.shape), dtype=self.values.dtype)
        for row, (begin, end) in enumerate(self.spans[indices].tolist()):
            begin += max(0, end - begin - self.window) // 2
            part = self.values[begin : min(end, begin + self.window)]
            found[row, : len(part)] = part
            if self.kind == "video":
                found[row, len(part) :] = part[-1]
        return found

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """The middle windows of the items at `indices`: uint8 [m, t, c, h, w], int16 [m, s] or int32 [m, l]."""
        found = torch.from_numpy(self.read(np.asarray(indices, dtype=np.int64)))
        return found.permute(0, 1, 4, 2, 3) if self.kind == "video" else found

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each item, int64 [n]."""
        return self.spans[:, 1] - self.spans[:, 0]

    @property
    def longest(self) -> int:
        """Rows of the longest item."""
        return int(self.lengths.max(initial=0))

    def whole(self, index: int) -> np.ndarray:
        """All rows of an item."""
        begin, end = self.spans[index].tolist()
        return self.values[begin:end]

    @property
    def items(self) -> "Series":
        return self.uncut or self

    def windows(self) -> Self:
        """Every window as an item of its own; `owners`, int64 [windows], has the item of each.

        The windows of an item are adjacent; the last one ends at the end of the item and may overlap the one before.
        """
        counts = np.maximum(1, -(-self.lengths // self.window))
        owners = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.cut(owners, np.minimum(place * self.window, np.maximum(0, self.lengths[owners] - self.window)))

    @property
    def times(self) -> np.ndarray:
        """The beginning and end of each window in its item: float64 [n, 2], in seconds or tokens."""
        return (self.spans - self.items.spans[self.owners, :1]) / self.rate

    def middles(self) -> Self:
        return self.cut(np.arange(len(self)), np.maximum(0, self.lengths - self.window) // 2)

    def cut(self, owners: np.ndarray, begins: np.ndarray) -> Self:
        """Cut windows from the items `owners`, each from the row `begins` on."""
        first, last = self.spans[owners].T
        begins = np.minimum(first + begins, last - 1)
        spans = np.stack([begins, np.minimum(begins + self.window, last)], axis=1)
        return self.select(owners)._with(spans=spans, owners=owners, uncut=self.items)

    def beginnings(self) -> Self:
        """The first window of each item."""
        return self.cut(np.arange(len(self)), np.zeros(len(self), dtype=np.int64))

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> Self:
        chosen = np.asarray(indices, dtype=np.int64)
        return super().select(chosen)._with(spans=self.spans[chosen], uncut=None)

    def measured(self) -> Shape:
        if self.kind == "video":
            return Shape(size=self.values.shape[1], channels=self.values.shape[3])
        return Shape(rate=round(self.rate))


class Joined(Samples):
    """Several kinds of data of the same items, such as videos with their sounds; a batch is a tuple of them.

    If all kinds have a time, they are cut together: each window of the last kind is an item, and windows of the other
    kinds are centred on it (a video of one frame is an image, and is used throughout). Otherwise nothing is cut: an
    item is the image, and the beginning of each text.

    Args:
        members: samples of the same items in the same order; labels, parts and `skipped` are those of the first.
    """

    def __init__(self, *members: Samples):
        first = members[0]
        super().__init__(
            first.values, first._names, first.labels, first.classes, first.skipped,
            "".join(part.stamp for part in members), first.source, first.rows, first.unlabelled, first.sources,
        )  # fmt: skip
        self.parts, self.members = first.parts, members
        self.kind = " + ".join(part.kind for part in members)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.members[0].shape

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, ...]:
        """The batch of each member at `indices`, e.g. uint8 [m, t, c, h, w] and int16 [m, s] for videos with sound."""
        indices = self.settled(np.asarray(indices, dtype=np.int64))
        return tuple(part.batch(indices) for part in self.members)

    @property
    def timed(self) -> list[Series]:
        """The members, if all of them have a time; else none."""
        found = [part for part in self.members if isinstance(part, Series) and part.kind in TIMED]
        return found if len(found) == len(self.members) else []

    @property
    def times(self) -> np.ndarray:
        return self.timed[-1].times if self.timed else super().times

    def windows(self) -> Self:
        if not self.timed:
            return type(self)(*(part.beginnings() if isinstance(part, Series) else part for part in self.members))
        *others, last = self.timed
        cut = last.windows()
        begins = cut.spans[:, 0] - last.spans[cut.owners, 0]
        middles = (begins + last.window / 2) / last.rate  # in seconds
        starts = (np.floor(middles * part.rate - part.window / 2 + 0.5).astype(np.int64) for part in others)
        shown = [part.cut(cut.owners, np.maximum(first, 0)) for part, first in zip(others, starts, strict=True)]
        return type(self)(*shown, cut)._with(owners=cut.owners)

    def middles(self) -> Self:
        return type(self)(*(part.middles() for part in self.members))

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> Self:
        return type(self)(*(part.select(indices) for part in self.members))

    def with_labels(self, labels: np.ndarray, classes: tuple[str, ...]) -> Self:
        return type(self)(*(part.with_labels(labels, classes) for part in self.members))

    def measured(self) -> Shape:
        return Shape(*map(max, *(astuple(part.measured()) for part in self.members)))

    def of(self, kind: str) -> Samples:
        if kind == self.kind:
            return self
        return next((part for part in self.members if part.kind == kind), self.members[0])
