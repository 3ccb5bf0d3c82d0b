"""How many steps fill a budget of time."""

import copy
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from withhold.methods import Batch, Method

log = logging.getLogger("withhold")


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
        prepared: seconds that `prepare` took; they are gone, and where it runs again it takes as long.
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
    step_takes = settled[len(settled) // 2] + (prepared / method.refresh if method.refresh else 0)
    return max(1, int((seconds - prepared - (time.perf_counter() - began)) / step_takes))
