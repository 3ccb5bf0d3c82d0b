"""How many steps fill a budget of time."""

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
"""The shares of the steps planned below and above which they are planned anew."""
EARLY = 0.1
"""The share of the steps planned in which the pace is not known yet: the first ones fill queues and caches."""


def pace(
    turn_all: Callable[[int, int, Batch], dict[str, Any]],
    batches: Iterable[Batch],
    method: Method,
    optimizers: dict[str, torch.optim.Optimizer],
    seconds: float,
    prepared: float,
) -> int:
    """How many steps fill what timing leaves of `seconds`: a few are timed, and the state from before is put back.

    Args:
        batches: of the steps that may be timed.
        prepared: seconds that `prepare` took; they are gone, and where it runs again it takes as long, but for the
            method's `once`.
    """
    state = copy.deepcopy((method.state_dict(), {p: o.state_dict() for p, o in optimizers.items()}))
    times = []
    began = ended = time.perf_counter()
    for step, batch in enumerate(batches):
        turn_all(step, 1000, batch)["loss" if len(optimizers) == 1 else f"{next(iter(optimizers))}/loss"].item()
        begun, ended = ended, time.perf_counter()
        times.append(ended - begun)  # with the time that it waited for the batch
        spent = ended - began
        enough = len(times) > 1 and spent > (0.2 if len(times) < 4 else 0.05) * seconds
        if enough and not torch.distributed.is_initialized():
            break
    method.load_state_dict(state[0])
    for player, optimizer in optimizers.items():
        optimizer.state.clear()
        optimizer.load_state_dict(state[1][player])
    settled = sorted(times[max(1, len(times) // 3) :])  # the first one is slow: libraries start, memory is found
    step_takes = settled[len(settled) // 2] + ((prepared - method.once) / method.refresh if method.refresh else 0)
    return max(1, int((seconds - prepared - (time.perf_counter() - began)) / step_takes))


class Deadline:
    """When a training has to end for which minutes were given.

    Args:
        at: the time, as `time.perf_counter` gives it.
        most: steps that it may have.
        known: the step after which its pace is known, for it has prepared itself again.
    """

    def __init__(self, at: float, most: int | None, known: int):
        self.at, self.most, self.known, self.began = at, most, known, time.perf_counter()

    def plan(self, step: int, steps: int) -> int:
        """The steps planned, or as many as fit at the pace of the first `step`, where these differ much.

        The machine may have become busy, or data that were slow to read when steps were timed lie in the cache now.
        Only in its first half does a training get longer: its learning rate would rise again.
        """
        now = time.perf_counter()
        fits = max(step + 1, step + int((self.at - now) * step / max(now - self.began, 1e-9)))
        fits = min(fits, self.most or fits)
        other = fits < SLOWER * steps or (fits > FASTER * steps and 2 * step <= steps)
        if other and step > max(self.known, EARLY * steps):
            log.info("at this pace %s fit instead of %s", counted(fits, "step"), f"{steps:,}")
            return fits
        return steps
