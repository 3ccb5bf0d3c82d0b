"""Decoded items of different lengths: videos, sounds, texts; and pairs of a video and its sound."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from withhold.data.kind import Shape
from withhold.data.samples import Samples


class Series(Samples):
    """Items of different lengths in one flat array, seen through windows of one length.

    Like Samples, a series is indexed by item, and gives of each the window in its middle; `windows()` are all windows
    of all items. An item shorter than a window shows its last frame on, or ends in zeros: silence, padding.

    Args:
        values: the rows of all items in a row: frames uint8 [rows, h, w, c], samples int16 [rows], tokens int32 [rows].
        spans: int64 [n, 2], the first row of each item and the one behind its last.
        window: rows of a window.
        kind: "video", "audio" or "text".
        rate: rows a second, where they lie in time.
        sources: which items of the source these are, int64 [n].
        about: names, labels and the rest, as for Samples.
    """

    def __init__(
        self, values: Any, spans: np.ndarray, window: int, kind: str, rate: float, sources: np.ndarray, **about: Any
    ):
        super().__init__(values, **about)
        self.spans, self.window, self.kind, self.rate, self.sources = spans, window, kind, rate, sources
        self.owners = np.arange(len(spans))

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a window: [t, h, w, c], [s] or [l]."""
        return (self.window, *self.values.shape[1:])

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The windows in the middle of the items at int64 `indices`, copied: [m, window, ...]."""
        found = np.zeros((len(indices), *self.shape), dtype=self.values.dtype)
        for row, (begin, end) in enumerate(self.spans[indices].tolist()):
            begin += max(0, end - begin - self.window) // 2
            part = self.values[begin : min(end, begin + self.window)]
            found[row, : len(part)] = part
            if self.kind == "video":
                found[row, len(part) :] = part[-1]
        return found

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """The windows in the middle of the items at `indices`: uint8 [m, t, c, h, w], int16 [m, s] or int32 [m, l]."""
        found = torch.from_numpy(self.read(np.asarray(indices, dtype=np.int64)))
        return found.permute(0, 1, 4, 2, 3) if self.kind == "video" else found

    @property
    def longest(self) -> int:
        """Rows of the longest item."""
        return int((self.spans[:, 1] - self.spans[:, 0]).max(initial=0))

    def whole(self, index: int) -> np.ndarray:
        """All rows of an item."""
        begin, end = self.spans[index].tolist()
        return self.values[begin:end]

    def windows(self) -> Self:
        """Every window as an item of its own; `owners`, int64 [windows], says of which item each was cut.

        The windows of an item lie side by side; the last one ends where the item does, and may overlap.
        """
        lengths = self.spans[:, 1] - self.spans[:, 0]
        counts = np.maximum(1, -(-lengths // self.window))
        return self.cut(*starts(lengths, counts, self.window))

    def middles(self) -> Self:
        lengths = self.spans[:, 1] - self.spans[:, 0]
        return self.cut(np.arange(len(self)), np.maximum(0, lengths - self.window) // 2)

    def cut(self, owners: np.ndarray, begins: np.ndarray) -> Self:
        """Windows as items: of the items `owners`, from the row `begins` of each on."""
        first, last = self.spans[owners].T
        begins = np.minimum(first + begins, last - 1)
        spans = np.stack([begins, np.minimum(begins + self.window, last)], axis=1)
        return self.select(owners)._with(spans=spans, owners=owners)

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> Self:
        chosen = np.asarray(indices, dtype=np.int64)
        kept = {"spans": self.spans[chosen], "sources": self.sources[chosen], "owners": np.arange(len(chosen))}
        return super().select(chosen)._with(**kept)

    def measured(self) -> Shape:
        if self.kind == "video":
            return Shape(size=self.values.shape[1], channels=self.values.shape[3])
        return Shape(rate=round(self.rate))


class Pairs(Samples):
    """Videos (or pictures) with their sounds, aligned in time: what a batch holds is (frames, sound).

    Args:
        frames: uint8 windows [t, h, w, c]; an item of one frame is a picture, and is shown throughout.
        sound: int16 windows [s] of the same items.
    """

    kind = "video + audio"

    def __init__(self, frames: Series, sound: Series):
        super().__init__(
            frames.values, frames._names, frames.labels, frames.classes, frames.skipped + sound.skipped,
            frames.fingerprint + sound.fingerprint, frames.source, frames.rows, frames.unlabelled,
        )  # fmt: skip
        self.frames, self.sound, self.owners = frames, sound, sound.owners

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a window's frames: [t, h, w, c]."""
        return self.frames.shape

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """The windows in the middle of the items at `indices`: frames uint8 [m, t, c, h, w] and sound int16 [m, s]."""
        return self.frames.batch(indices), self.sound.batch(indices)

    def windows(self) -> Self:
        """Every window of the sounds as an item of its own, with the frames that are shown in its middle."""
        sound = self.sound.windows()
        begins = sound.spans[:, 0] - self.sound.spans[sound.owners, 0]
        middles = (begins + self.sound.window / 2) / self.sound.rate  # in seconds
        first = np.floor(middles * self.frames.rate - self.frames.window / 2 + 0.5).astype(np.int64)
        frames = self.frames.cut(sound.owners, np.maximum(first, 0))
        return type(self)(frames, sound)

    def middles(self) -> Self:
        return type(self)(self.frames.middles(), self.sound.middles())

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> Self:
        return type(self)(self.frames.select(indices), self.sound.select(indices))

    def with_labels(self, labels: np.ndarray, classes: tuple[str, ...]) -> Self:
        return type(self)(self.frames.with_labels(labels, classes), self.sound.with_labels(labels, classes))

    def measured(self) -> Shape:
        return replace(self.frames.measured(), rate=round(self.sound.rate))

    def of(self, kind: str) -> Samples:
        return {"audio": self.sound, self.kind: self}.get(kind, self.frames)


def starts(lengths: np.ndarray, counts: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of all windows, the item it is of and the row it begins at: int64 [sum of counts] both."""
    owners = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owners, np.minimum(place * window, np.maximum(0, lengths[owners] - window))
