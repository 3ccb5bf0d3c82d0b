"""Decoded samples: pixels, names, labels and further parts."""

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from withhold.data.kind import Shape, Unreadable
from withhold.data.streaming import Stream
from withhold.data.targets import Target
from withhold.errors import UsageError, WithholdError
from withhold.needs import Need

CHECKED = 64  # items whose content is part of the fingerprint


class Samples:
    """Decoded items with names and labels: images of one size; see `Series` for items with a length.

    Args:
        values: uint8 [n, h, w, c]: an array, a memory map, or anything that returns rows for an array of indices.
        names: text or UTF-8 bytes [n].
        labels: int64 [n], -1 where unlabelled; None if there are none.
        skipped: (name, reason) of each sample that could not be decoded; grows while a stream is read.
        stamp: identifies the files as they are now, and their decoding; see `fingerprint`.
        source: the name of the source.
        rows: the rows of `values` and `names` that belong to these samples, int64; None for all.
        unlabelled: why there are no labels, if a user may expect some; part of a sentence.
        sources: indices of the items in the source, int64 [n]; None for all.

    Attributes:
        parts: further parts of each item, by the names of `needs.PARTS`: {"mask": Samples of one channel,
            "targets": {column: Target}, "boxes": a Target of float32 [n, m, 4] ...}.
        subset: the part of a dataset that the items are: "train", "test" or "unlabelled"; "" if it has no parts.
        owners: the item from which each window was cut; otherwise the items themselves: int64 [n].
    """

    kind = "image"
    members: tuple["Samples", ...] = ()  # the samples of each kind, if several are joined

    def __init__(
        self,
        values: Any,
        names: np.ndarray,
        labels: np.ndarray | None = None,
        classes: tuple[str, ...] = (),
        skipped: list[tuple[str, str]] | None = None,
        stamp: str = "",
        source: str = "",
        rows: np.ndarray | None = None,
        unlabelled: str = "",
        sources: np.ndarray | None = None,
    ):
        self.values, self.labels, self.classes = values, labels, classes
        self.skipped = [] if skipped is None else skipped
        self.stamp, self.source, self.unlabelled = stamp, source, unlabelled
        self._names = names
        self.rows = np.arange(len(names)) if rows is None else rows
        self.owners = np.arange(len(self.rows))
        self.sources = self.owners if sources is None else sources
        self.parts: dict[str, Any] = {}
        self.subset = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.labels is not None else ""
        return f"<{len(self)} of {self.kind} {'x'.join(map(str, self.shape))} from {self.source}{classes}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an item in a batch: height, width and channels."""
        return self.values.shape[1:]

    @property
    def targets(self) -> dict[str, Target]:
        """Further columns of the source by name."""
        return self.parts.get("targets", {})

    @property
    def items(self) -> "Samples":
        """The items as they were before they were cut into windows."""
        return self

    @property
    def array(self) -> np.ndarray:
        """All images, uint8 [n, h, w, c]: the memory map if all rows belong to these samples, else a copy."""
        if isinstance(self.values, np.ndarray) and np.array_equal(self.rows, np.arange(len(self.values))):
            return self.values
        return self.read(np.arange(len(self)))

    @cached_property
    def names(self) -> list[str]:
        """The path of each sample, or its row in the source if it has none."""
        return [n.decode("utf-8", "surrogatepass") if isinstance(n, bytes) else str(n) for n in self._names[self.rows]]

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the data: a digest of all names, labels and parts, and of the content of 64 items.

        It stays the same if files are copied, moved or touched, unlike `stamp`.
        """
        spread = np.unique(np.linspace(0, len(self) - 1, CHECKED).astype(np.int64))[: len(self)]
        parts = [[name, *(one.fingerprint for one in tree_leaves(part))] for name, part in sorted(self.parts.items())]
        about = [self.names, self.classes, parts, self.select(spread).digests()]
        labels = b"" if self.labels is None else self.labels.tobytes()
        return hashlib.blake2b(repr(about).encode() + labels, digest_size=16).hexdigest()

    def read(self, indices: np.ndarray) -> np.ndarray:
        """A copy of the images at int64 `indices`: uint8 [m, h, w, c]."""
        while True:
            with contextlib.suppress(Unreadable):  # a file that was readable before; `settled` replaces it from now on
                return np.asarray(self.values[self.rows[self.settled(indices)]])

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Any:
        """The images at `indices`: uint8 [m, c, h, w] in channels_last memory format."""
        return torch.from_numpy(self.read(np.asarray(indices, dtype=np.int64))).permute(0, 3, 1, 2)

    def beside(self, need: Need, indices: np.ndarray) -> tuple[Any, ...]:
        """The parts of the items at `indices`: for each part in `need` a tensor, or {column: tensor}."""
        indices = self.settled(np.asarray(indices, dtype=np.int64))
        own = self.parts | {"label": Target(np.asarray(self.labels))}
        found = tree_map(lambda part: part.batch(indices), {name: own[name] for name in need.parts if name in own})
        found |= {"number": torch.tensor(indices)} | ({"mask": found["mask"][:, 0]} if "mask" in found else {})
        return tuple(found[name] for name in need.parts)

    def give(self, name: str, part: Any) -> None:
        """Add a part to the items: Samples, a Target, or {column: Target}."""
        self.parts[name] = part
        self.__dict__.pop("fingerprint", None)  # cached, but depends on the parts

    def readable(self) -> np.ndarray:
        """The indices of the items without those that cannot be read, which neighbours replace: int64.

        Images of a stream that were not read yet are decoded to find out.
        """
        kept = np.ones(len(self), dtype=bool)
        for part in self._read_together():
            if isinstance(part.values, Stream):
                part.values.check(part.rows)
                kept &= part.values.good[part.rows]
        return np.flatnonzero(kept)

    def decodable(self) -> Self:
        """The samples without those that cannot be read: see `readable`."""
        kept = self.readable()
        return self if len(kept) == len(self) else self.select(kept)

    def settled(self, indices: np.ndarray) -> np.ndarray:
        """The indices of the items to read for those at `indices`, so that all parts of an item fit together.

        An item that cannot be read completely is replaced by the next one that can, with the same label if possible.
        """
        streams = [(part, part.values) for part in self._read_together() if isinstance(part.values, Stream)]
        if not streams:
            return indices

        def whole(some: np.ndarray) -> np.ndarray:
            return np.all([stream.readable(part.rows[some]) for part, stream in streams], axis=0)

        chosen = indices.copy()
        for place in np.flatnonzero(~whole(indices)).tolist():
            index = int(indices[place])
            found = next((other for other in self._others(index) if whole(np.array([other])).all()), None)
            if found is None:
                reasons = [stream.bad.get(int(part.rows[index])) for part, stream in streams]
                reason = next(filter(None, reasons))
                raise WithholdError(
                    f"{self.names[index]} cannot be read ({reason}), and neither can any item that could replace it."
                )
            chosen[place] = found
        return chosen

    def _others(self, index: int) -> Iterator[int]:
        """The other items in order after `index`, first those with the same label."""
        labels = np.zeros(len(self)) if self.labels is None else self.labels
        for same in (True, False):
            for step in range(1, len(self)):
                other = (index + step) % len(self)
                if (labels[other] == labels[index]) == same:
                    yield other

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> Self:
        """Return the samples at `indices`, in this order, without copying pixels."""
        chosen = np.asarray(indices, dtype=np.int64)
        labels = None if self.labels is None else self.labels[chosen]
        stamp = hashlib.blake2b(self.stamp.encode() + chosen.tobytes(), digest_size=16).hexdigest()
        return self._with(
            rows=self.rows[chosen], labels=labels, stamp=stamp, sources=self.sources[chosen],
            parts=tree_map(lambda part: part.select(chosen), self.parts), owners=np.arange(len(chosen)),
        )  # fmt: skip

    def measured(self) -> Shape:
        """The shape of these samples, as from `measure`."""
        return Shape(size=min(self.shape[:2]), channels=self.shape[2])

    def windows(self) -> "Samples":
        """The inputs of training steps and encoders: long items are cut into windows, images stay as they are."""
        return self

    @property
    def times(self) -> np.ndarray:
        """The beginning and end of each window in its item: see `Series.times`."""
        raise UsageError(f"{self.source}: data of the kind {self.kind} have no windows. Remove the option for windows.")

    def middles(self) -> "Samples":
        """The middle window of each item; `windows` gives all windows."""
        return self

    def digests(self) -> list[str]:
        """A digest of each item's content, independent of its name; for long items of the middle window."""
        middles, found = self.middles(), []
        for rows in np.array_split(np.arange(len(self)), len(self) // 256 + 1):
            leaves = tree_leaves(middles.batch(rows)) if len(rows) else []
            for content in zip(*leaves, strict=True):
                whole = b"".join(part.contiguous().numpy().tobytes() for part in content)
                found.append(hashlib.blake2b(whole, digest_size=16).hexdigest())
        return found

    def of(self, kind: str) -> "Samples":
        """The samples of one `kind`, if items have several kinds, such as videos with sound."""
        return self

    def labelled(self, user: str) -> Self:
        """Return the samples with a label. Raises: UsageError: there are none, but `user` needs them."""
        known = np.flatnonzero([] if self.labels is None else self.labels >= 0)
        if not len(known):
            reason = f" ({self.unlabelled})" if self.unlabelled else ""
            raise UsageError(
                f"{self.source} has no labels{reason}, but {user} needs them. "
                "Sort it into one folder per class, add a label column, or give --labels FILE."
            )
        return self if len(known) == len(self) else self.select(known)

    def serving(self, need: Need, user: str) -> Self:
        """Return the samples with all parts in `need`. Raises: UsageError: there are none; see `labelled`."""
        lacking = [part for part in need.parts if part not in ("label", "number", *self.parts)]
        if lacking:
            raise UsageError(f"{self.source} has no {lacking[0]}, but {user} needs it. Give each item one.")
        return self.labelled(user) if need.labelled else self

    def with_labels(self, labels: np.ndarray, classes: tuple[str, ...]) -> Self:
        """Return the same samples with other labels, int64 [n]."""
        return self._with(labels=labels, classes=classes, unlabelled="")

    def split(self, fraction: float, seed: int, owners: Sequence[str] | None = None) -> tuple[Self, Self]:
        """Split at random; the second set has `fraction` in (0, 1) of the samples, or of each class if labelled.

        A class of two or more items has at least one in each set; a single item stays in the first. Items with equal
        `owners` [n], such as copies with equal `digests`, stay together, count as one, and have the class of the first.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"A fraction of {fraction} cannot be split off. Give one between 0 and 1.")
        if len(self) < 2:
            raise UsageError(f"{self.source} has {len(self)} item, but splitting needs at least two.")
        rng = np.random.default_rng(seed)
        places: dict[str, int] = {}
        firsts = [i if owners is None else places.setdefault(owners[i], i) for i in range(len(self))]
        first, owner = np.unique(firsts, return_inverse=True)
        strata = np.zeros(len(first), dtype=np.int64) if self.labels is None else self.labels[first]
        held_out = np.zeros(len(first), dtype=bool)
        for stratum in np.unique(strata):
            members = rng.permutation(np.flatnonzero(strata == stratum))
            count = min(max(round(fraction * len(members)), 1), len(members) - 1)
            held_out[members[:count]] = True
        if not held_out.any():
            raise UsageError(f"Every class in {self.source} has only one item, but splitting needs two of one class.")
        return self.select(np.flatnonzero(~held_out[owner])), self.select(np.flatnonzero(held_out[owner]))

    def _read_together(self) -> list["Samples"]:
        """The samples with decoded data of the items: of each kind, and masks."""
        return [part for part in (*(self.members or (self,)), *tree_leaves(self.parts)) if isinstance(part, Samples)]

    def _with(self, **changes: Any) -> Self:
        """Return a copy with other values of these attributes."""
        other = copy.copy(self)
        for cached in ("names", "fingerprint"):  # they depend on the rows
            other.__dict__.pop(cached, None)
        other.__dict__.update(changes)
        return other


def together(items: Any, parts: tuple[Any, ...]) -> Any:
    """Return a stream's batch: the items alone, or a tuple of the data of all kinds and the parts."""
    if not parts:
        return items
    return (*items, *parts) if isinstance(items, tuple) else (items, *parts)
