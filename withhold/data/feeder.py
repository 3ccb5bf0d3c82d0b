"""From samples to a training step's batch: a pure function of the step."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from withhold.data.samples import Samples
from withhold.errors import UsageError
from withhold.needs import Need

AHEAD = 2  # batches that are gathered before they are asked for
RESIDENT = 0.25  # the share of a GPU's free memory that data may occupy
SLICE = 2**26  # bytes that move to the GPU at a time


class Feeder:
    """Batches for each training step, in an order that follows from (seed, epoch) alone.

    An epoch walks once through the longest stream, in a fresh order, and drops what does not fill the last batch.
    Shorter streams go on from batch to batch through one shuffled order after another. The ranks get consecutive parts
    of one global batch, so 2 ranks with batches of b see what 1 rank with batches of 2b sees.

    On a GPU, data that fit a quarter of its free memory live there; others are gathered in a thread, pinned and sent.

    Args:
        streams: the samples of each stream; of what is longer than a window, every window counts as an item.
        needs: what each stream holds, as a method declares it; where that is a label too, samples without one are left
            out.
        batch_size: items of each stream in this rank's batch.
        seed: decides every order.

    Raises:
        UsageError: the batch is larger than the longest stream, or a stream that needs labels has none.
    """

    def __init__(
        self,
        streams: dict[str, Samples],
        needs: dict[str, Need],
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ):
        self.labelled = {name for name, need in needs.items() if need.labelled}
        self.streams = {
            name: (streams[name].labelled(f"the stream {name}") if name in self.labelled else streams[name]).windows()
            for name in needs
        }
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.device = torch.device(device)
        self.longest = max(map(len, self.streams.values()))
        self.steps_per_epoch = self.longest // (batch_size * world)
        if batch_size < 1 or not self.steps_per_epoch:
            if self.longest < 2:
                samples = next(iter(self.streams.values()))
                lost = " ({} is left out: {})".format(*samples.skipped[0]) if samples.skipped else ""
                raise UsageError(
                    f"{samples.source} holds one item at most, and there is nothing to learn from one: give more{lost}."
                )
            ranks = f" on each of {world} devices" if world > 1 else ""
            raise UsageError(
                f"A batch of {batch_size} items{ranks} does not go with {self.longest} items: "
                f"give a batch size from 1 to {self.longest // world}."
            )
        self.resident = self._resident()
        self._order = lru_cache(2 * len(self.streams))(self._shuffled)

    def batch(self, step: int) -> dict[str, Any]:
        """A step's batch on the device: what `Samples.batch` gives of each stream, or that and labels int64 [n]."""
        return self._send(self._gather(step))

    def iterate(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """The batches of the steps from `start` up to `stop`, gathered ahead of time in a thread."""
        if self.resident:
            yield from map(self.batch, range(start, stop))
            return
        pool = ThreadPoolExecutor(1)
        waiting: deque[Future] = deque()
        try:
            for step in range(start, stop + AHEAD):
                if step < stop:
                    waiting.append(pool.submit(self._gather, step))
                if step >= start + AHEAD and waiting:
                    yield self._send(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def indices(self, name: str, step: int) -> np.ndarray:
        """Which samples of a stream make up this rank's part of a step's batch."""
        count, whole = len(self.streams[name]), self.batch_size * self.world
        if count == self.longest:
            epoch, step = divmod(step, self.steps_per_epoch)
            begin = step * whole + self.rank * self.batch_size
            return self._order(name, epoch)[begin : begin + self.batch_size]
        begin = step * whole + self.rank * self.batch_size
        places = np.arange(begin, begin + self.batch_size)
        parts = [
            self._order(name, lap)[places[places // count == lap] % count]
            for lap in np.unique(places // count).tolist()
        ]
        return np.concatenate(parts)

    def _shuffled(self, name: str, epoch: int) -> np.ndarray:
        """A stream's order in an epoch. Two streams of the same length are shuffled differently."""
        place = list(self.streams).index(name)
        return np.random.default_rng([self.seed, place, epoch]).permutation(len(self.streams[name]))

    def _resident(self) -> dict[str, Tensor]:
        """Every stream's images on the GPU, uint8 [n, h, w, c], if there is nothing else and all of them fit."""
        if self.device.type != "cuda" or any(samples.kind != "image" for samples in self.streams.values()):
            return {}
        need = sum(len(samples) * int(np.prod(samples.shape)) for samples in self.streams.values())
        if need > RESIDENT * torch.cuda.mem_get_info(self.device)[0]:
            return {}
        return {name: _upload(samples, self.device) for name, samples in self.streams.items()}

    def _gather(self, step: int) -> dict[str, tuple[Any, Tensor | None]]:
        """Items (their indices, where they are on the GPU already) and labels, pinned for the way to a GPU."""
        parts = {}
        for name, samples in self.streams.items():
            indices = self.indices(name, step)
            items = torch.from_numpy(indices) if self.resident else samples.batch(indices)
            labels = None
            if name in self.labelled and samples.labels is not None:
                labels = torch.from_numpy(samples.labels[indices])
            parts[name] = (items, labels)
        return tree_map_only(Tensor, Tensor.pin_memory, parts) if self.device.type == "cuda" else parts

    def _send(self, parts: dict[str, tuple[Any, Tensor | None]]) -> dict[str, Any]:
        batch: dict[str, Any] = {}
        for name, part in parts.items():
            items, labels = tree_map_only(Tensor, lambda x: x.to(self.device, non_blocking=True), part)
            if self.resident:
                items = self.resident[name].index_select(0, items).permute(0, 3, 1, 2)
            batch[name] = items if labels is None else (items, labels)
        return batch


def _upload(samples: Samples, device: torch.device) -> Tensor:
    """All images on the device, a slice at a time: uint8 [n, h, w, c]."""
    images = torch.empty((len(samples), *samples.shape), dtype=torch.uint8, device=device)
    step = max(SLICE // int(np.prod(samples.shape)), 1)
    for start in range(0, len(samples), step):
        rows = np.arange(start, min(start + step, len(samples)))
        images[start : start + step] = torch.from_numpy(samples.read(rows))
    return images
