"""The batches of training steps, as a pure function of the step."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from withhold.data.samples import Samples, together
from withhold.errors import UsageError
from withhold.needs import Need
from withhold.orders import Shuffled

AHEAD = 2  # batches that are prefetched
RESIDENT = 0.25  # the share of a GPU's free memory that data may occupy
KNOWN = ("", "label")  # groups of an order that do not come from the method
SLICE = 2**26  # bytes that are copied to the GPU at a time


class Feeder:
    """Batches for each training step, in an order that only depends on (seed, epoch).

    An epoch goes once through the longest stream, in a new order, and drops the incomplete last batch. Shorter streams
    continue from batch to batch, reshuffled whenever they are used up. The ranks get consecutive parts of one global
    batch, so 2 ranks with batches of b see the same as 1 rank with batches of 2b.

    On a GPU, data that fit into a quarter of its free memory are kept there; others are gathered in a thread, pinned
    and copied.

    Args:
        streams: the samples of each stream; every window of a long item counts as an item.
        needs: the declaration of each stream; if it has a label, samples without one are left out.
        batch_size: items of each stream in this rank's batch.
        orders: orders of streams that the method sets; other streams are shuffled.
        groups: returns the current groups of a stream's items, int64 [n], by the name in an order.

    Raises:
        UsageError: the batch is too large, does not suit an order, or a stream lacks what it needs.
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
        orders: Mapping[str, Shuffled] | None = None,
        groups: Callable[[str], Tensor] | None = None,
    ):
        self.needs, self.groups = needs, groups
        self.orders = {name: (orders or {}).get(name, Shuffled()) for name in needs}
        self.streams = {
            name: streams[name].serving(need, f"the stream {name}").windows() for name, need in needs.items()
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
                    f"{samples.source} has fewer than two items, which is too few for training. Give more items{lost}."
                )
            if self.longest < world:
                raise UsageError(f"{self.longest} items are too few for {world} devices. Use {self.longest} at most.")
            ranks = f" on each of {world} devices" if world > 1 else ""
            raise UsageError(
                f"A batch of {batch_size} items{ranks} is not possible with {self.longest} items. "
                f"Give a batch size from 1 to {self.longest // world}."
            )
        self.resident = self._resident()
        self._held: dict[tuple[str, int], tuple[Any, int, np.ndarray]] = {}
        settled = [name for name, order in self.orders.items() if order.by in KNOWN]
        for name in settled:
            self._ordered(name, 0)  # raises if the data do not suit the order
        # No prefetching if groups come from the method, because it may change them after every step.
        self.ahead = AHEAD if len(settled) == len(self.streams) else 0

    def batch(self, step: int) -> dict[str, Any]:
        """A step's batch on the device: for each stream `Samples.batch`, or a tuple of that and its parts."""
        return self._send(self._gather(step))

    def iterate(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Yield the batches of the steps from `start` up to `stop`, prefetched in a thread."""
        if self.resident:
            yield from map(self.batch, range(start, stop))
            return
        pool = ThreadPoolExecutor(1)
        waiting: deque[Future] = deque()
        try:
            for step in range(start, stop + self.ahead):
                if step < stop:
                    waiting.append(pool.submit(self._gather, step))
                if step >= start + self.ahead:
                    yield self._send(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def indices(self, name: str, step: int) -> np.ndarray:
        """The indices of a stream's samples in this rank's part of a step's batch."""
        whole = self.batch_size * self.world
        lap = self.steps_per_epoch * whole if len(self.streams[name]) == self.longest else self._lap(name)
        places = step * whole + self.rank * self.batch_size + np.arange(self.batch_size)
        laps = np.unique(places // lap).tolist()
        return np.concatenate([self._ordered(name, k)[places[places // lap == k] % lap] for k in laps])

    def _lap(self, name: str) -> int:
        """The number of items in one order of a stream: each once, or with groups a multiple of the batch size."""
        count, batch = len(self.streams[name]), self.batch_size * self.world
        return -(-count // batch) * batch if self.orders[name].by else count

    def _ordered(self, name: str, epoch: int) -> np.ndarray:
        """A stream's items in the order of an epoch. Two streams of the same length are ordered differently."""
        order, version = self.orders[name], 0
        groups: Any = self.streams[name].labels
        if order.by not in KNOWN:
            assert self.groups is not None, f"the groups {order.by} come from the method"
            groups = self.groups(order.by)
            version = groups._version  # it increases when the method writes into it
        held = self._held.get((name, epoch))
        if held is None or held[0] is not groups or held[1] != version:
            rng = np.random.default_rng([self.seed, list(self.streams).index(name), epoch])
            parts = groups.cpu().numpy() if isinstance(groups, Tensor) else groups
            held = groups, version, order.epoch(self._lap(name), parts, self.batch_size, rng)
            self._held[name, epoch] = held
            if len(self._held) > 2 * len(self.streams):
                del self._held[next(iter(self._held))]
        return held[2]

    def _resident(self) -> dict[str, Tensor]:
        """Copy every stream's images to the GPU, uint8 [n, h, w, c], if all streams are images and fit."""
        if self.device.type != "cuda" or any(samples.kind != "image" for samples in self.streams.values()):
            return {}
        need = sum(len(samples) * int(np.prod(samples.shape)) for samples in self.streams.values())
        if need > RESIDENT * torch.cuda.mem_get_info(self.device)[0]:
            return {}
        return {name: _upload(samples, self.device) for name, samples in self.streams.items()}

    def _gather(self, step: int) -> dict[str, tuple[Any, tuple[Any, ...]]]:
        """Items (their indices, where they are on the GPU already) and their parts, pinned for the way to a GPU."""
        found = {}
        for name, samples in self.streams.items():
            indices = self.indices(name, step)
            items = torch.from_numpy(indices) if self.resident else samples.batch(indices)
            found[name] = (items, samples.beside(self.needs[name], indices))
        return tree_map_only(Tensor, Tensor.pin_memory, found) if self.device.type == "cuda" else found

    def _send(self, gathered: dict[str, tuple[Any, tuple[Any, ...]]]) -> dict[str, Any]:
        batch: dict[str, Any] = {}
        for name, found in gathered.items():
            items, parts = tree_map_only(Tensor, lambda x: x.to(self.device, non_blocking=True), found)
            if self.resident:
                items = self.resident[name].index_select(0, items).permute(0, 3, 1, 2)
            batch[name] = together(items, parts)
        return batch


def _upload(samples: Samples, device: torch.device) -> Tensor:
    """All images on the device, a slice at a time: uint8 [n, h, w, c]."""
    images = torch.empty((len(samples), *samples.shape), dtype=torch.uint8, device=device)
    step = max(SLICE // int(np.prod(samples.shape)), 1)
    for rows, part in zip(torch.arange(len(samples)).split(step), images.split(step), strict=True):
        part.copy_(torch.from_numpy(samples.read(rows.numpy())))
    return images
