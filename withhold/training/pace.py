"""The number of steps that fit into a time budget."""

import copy
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from withhold.console import counted
from withhold.methods import Batch, Method

log = logging.getLogger("withhold")

SLOWER, FASTER = 0.95, 1.25
"""The shares of the planned steps below and above which the number of steps is changed."""
EARLY = 0.1
"""The share of the planned steps in which the pace is not reliable yet: the first steps fill queues and caches."""


def pace(
    turn_all: Callable[[int, int, Batch], dict[str, Any]],
    batches: Iterable[Batch],
    method: Method,
    optimizers: dict[str, torch.optim.Optimizer],
    seconds: float,
    prepared: float,
) -> int:
    """Return how many steps fit into `seconds`: a few steps are timed, and then the earlier state is restored.

    Args:
        batches: the batches of the steps that may be timed.
        prepared: seconds that `prepare` took. They are subtracted; if `prepare` is repeated during training, it takes
            as long again, without the method's `once`.
    """
    state = copy.deepcopy((method.state_dict(), {p: o.state_dict() for p, o in optimizers.items()}))
    times = []
    began = ended = time.perf_counter()
    for step, batch in enumerate(batches):
        turn_all(step, 1000, batch)["loss" if len(optimizers) == 1 else f"{next(iter(optimizers))}/loss"].item()
        begun, ended = ended, time.perf_counter()
        times.append(ended - begun)  # includes waiting for the batch
        spent = ended - began
        enough = len(times) > 1 and spent > (0.2 if len(times) < 4 else 0.05) * seconds
        if enough and not torch.distributed.is_initialized():
            break
    method.load_state_dict(state[0])
    for player, optimizer in optimizers.items():
        optimizer.state.clear()
        optimizer.load_state_dict(state[1][player])
    settled = sorted(times[max(1, len(times) // 3) :])  # the first steps are slow: libraries load, memory is allocated
    step_takes = settled[len(settled) // 2] + ((prepared - method.once) / method.refresh if method.refresh else 0)
    return max(1, int((seconds - prepared - (time.perf_counter() - began)) / step_takes))


class Deadline:
    """The deadline of a training with a budget in minutes.

    Args:
        at: the time, as `time.perf_counter` gives it.
        most: the maximum number of steps.
        known: the step after which the pace is known, because `prepare` has been repeated once.
    """

    def __init__(self, at: float, most: int | None, known: int):
        self.at, self.most, self.known, self.began = at, most, known, time.perf_counter()

    def plan(self, step: int, steps: int) -> int:
        """Return the planned `steps`, or the number that fits at the pace so far if it differs much.

        The pace changes if the machine becomes busy, or if data that were slow to read at first are in the cache now.
        Steps are only added in the first half, because the learning rate rises when they are.
        """
        now = time.perf_counter()
        fits = max(step + 1, step + int((self.at - now) * step / max(now - self.began, 1e-9)))
        fits = min(fits, self.most or fits)
        other = fits < SLOWER * steps or (fits > FASTER * steps and 2 * step <= steps)
        if other and step > max(self.known, EARLY * steps):
            log.info("at this pace %s fit instead of %s", counted(fits, "step"), f"{steps:,}")
            return fits
        return steps
